//! Names for runs that nobody named: two words and a number.

const QUALITIES: [&str; 48] = [
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "coral", "crisp",
    "deep", "eager", "early", "fair", "fast", "fine", "fresh", "gentle", "glad", "golden", "grand",
    "green", "happy", "ivory", "jolly", "keen", "kind", "light", "lively", "lucky", "mellow",
    "merry", "mild", "neat", "noble", "olive", "plain", "proud", "quick", "quiet", "rapid",
    "ready", "silver", "smart", "steady", "sunny", "swift", "warm",
];

const THINGS: [&str; 48] = [
    "axle",
    "beacon",
    "bell",
    "boxcar",
    "branch",
    "bridge",
    "cabin",
    "canyon",
    "coach",
    "cobalt",
    "depot",
    "engine",
    "ferry",
    "field",
    "gauge",
    "harbor",
    "hill",
    "junction",
    "lamp",
    "lantern",
    "lever",
    "line",
    "lodge",
    "meadow",
    "mill",
    "orchard",
    "piston",
    "plateau",
    "platform",
    "quarry",
    "rail",
    "ridge",
    "river",
    "roundhouse",
    "shed",
    "siding",
    "signal",
    "sleeper",
    "spring",
    "station",
    "stone",
    "switch",
    "tender",
    "track",
    "trestle",
    "tunnel",
    "valley",
    "wagon",
];

/// Makes a name from a random number.
pub(crate) fn made_up(random: u64) -> String {
    let pick = |words: &[&'static str; 48], shift: u32| {
        words[usize::try_from((random >> shift) % 48).unwrap_or_default()]
    };
    format!("{}-{}-{}", pick(&QUALITIES, 0), pick(&THINGS, 16), (random >> 32) % 1000)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_two_words_and_a_number() {
        insta::assert_snapshot!(made_up(0x1234_5678_9abc_def0), @"amber-ferry-896");
        for words in [QUALITIES, THINGS] {
            let different: BTreeSet<_> = words.into_iter().collect();
            assert_eq!(different.len(), words.len());
        }
    }
}
