//! Figures taken several times.
//!
//! Not here: taking them.

/// The least, the middle and the most of some figures.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) middle: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        Self { least: at(0), middle: at(last / 2), most: at(last) }
    }

    pub(crate) fn text(&self, digits: usize) -> String {
        let Self { least, middle, most } = self;
        format!("{middle:.digits$} [{least:.digits$}–{most:.digits$}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_stands_between_the_ends() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).text(1), "2.0 [1.0–3.0]");
        assert_eq!(Spread::of(vec![4.0]).text(0), "4 [4–4]");
    }
}
