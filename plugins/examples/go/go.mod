module knock

go 1.24
