//! Medians, spreads and ratios of samples that were taken round by round.

/// What was measured in each round; `None` where a round gave nothing.
pub(crate) type Samples = Vec<Option<f64>>;

/// The middle of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// Summarises samples, if there are any.
pub(crate) fn summary(samples: &[Option<f64>]) -> Option<Summary> {
    let mut sorted: Vec<f64> = samples.iter().flatten().copied().filter(|sample| sample.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let median = match middle.checked_sub(1).and_then(|below| sorted.get(below)) {
        Some(lower) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
        _ => upper,
    };
    Some(Summary { median, least, most })
}

/// Summarises the ratios of samples that were taken in the same round, so that a machine that changes its speed from one
/// round to the next does not show in them.
pub(crate) fn ratio(of: &[Option<f64>], to: &[Option<f64>]) -> Option<Summary> {
    let ratios: Samples = of
        .iter()
        .zip(to)
        .map(|pair| match pair {
            (Some(of), Some(to)) if *to != 0.0 => Some(of / to),
            _ => None,
        })
        .collect();
    summary(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_holes_do_not_count() {
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[None]), None);
        let odd = summary(&[Some(3.0), None, Some(1.0), Some(10.0)]);
        assert_eq!(odd, Some(Summary { median: 3.0, least: 1.0, most: 10.0 }));
        assert_eq!(summary(&[Some(1.0), Some(2.0)]).map(|summary| summary.median), Some(1.5));
    }

    #[test]
    fn ratios_pair_rounds() {
        let slow_then_fast = [Some(20.0), Some(2.0), None];
        let peer = [Some(10.0), Some(1.0), Some(5.0)];
        assert_eq!(ratio(&slow_then_fast, &peer), Some(Summary { median: 2.0, least: 2.0, most: 2.0 }));
        assert_eq!(ratio(&peer, &[Some(0.0)]), None);
    }
}
