//! "Did you mean": the known name that is closest to a misspelt one.

/// The closest of the names, if one is close enough that it was probably meant.
pub(super) fn to<'a>(misspelt: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let tolerated = misspelt.chars().count().div_ceil(4).min(3);
    names.map(|name| (distance(misspelt, name), name)).filter(|(distance, _)| *distance <= tolerated).min().map(|(_, name)| name)
}

/// Levenshtein's distance, upper and lower case being the same.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let names = || ["containers", "initContainers", "nodeName", "priority"].into_iter();
        assert_eq!(to("containerz", names()), Some("containers"));
        assert_eq!(to("nodename", names()), Some("nodeName"));
        assert_eq!(to("replicas", names()), None);
        assert_eq!(to("x", names()), None);
    }
}
