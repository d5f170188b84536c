//! Words that two people can tell each other on a bad line: common, of two syllables or so, none
//! that sounds like another. They are shown and said as they are in every language.

/// 256 words: one byte each.
pub const WORDS: [&str; 256] = [
    "acorn", "almond", "amber", "anchor", "apple", "arrow", "autumn", "bakery", "balcony", "bamboo", "banana",
    "barley", "barrel", "basket", "beacon", "bicycle", "biscuit", "blanket", "blossom", "border", "bottle", "branch",
    "bridge", "bronze", "bucket", "butter", "button", "cabin", "cactus", "camel", "camera", "candle", "candy",
    "canoe", "canyon", "carpet", "carrot", "castle", "cattle", "cedar", "cellar", "cherry", "chimney", "cinema",
    "circle", "clover", "coffee", "comet", "copper", "coral", "corner", "cotton", "cradle", "crystal", "curtain",
    "daisy", "denim", "desert", "dolphin", "dragon", "drawer", "eagle", "easel", "elbow", "ember", "engine",
    "envelope", "evening", "fabric", "falcon", "feather", "ferry", "fiddle", "field", "finger", "flower", "forest",
    "fountain", "galaxy", "garden", "garlic", "gazelle", "ginger", "glacier", "globe", "granite", "grape", "gravel",
    "guitar", "hammer", "hammock", "harbour", "harvest", "hazel", "helmet", "herring", "hill", "honey", "horizon",
    "hunter", "igloo", "insect", "island", "ivory", "jacket", "jaguar", "jasmine", "jigsaw", "jungle", "kettle",
    "keyboard", "kitchen", "kitten", "ladder", "lagoon", "lantern", "lavender", "leather", "lemon", "library",
    "lilac", "lizard", "lobster", "lotus", "lumber", "magnet", "mango", "maple", "marble", "market", "meadow",
    "melon", "mirror", "mitten", "monsoon", "morning", "mosaic", "mountain", "muffin", "museum", "mustard", "napkin",
    "needle", "nickel", "nutmeg", "oasis", "ocean", "olive", "onion", "orange", "orchard", "orchid", "otter",
    "oyster", "paddle", "palace", "panda", "paper", "parcel", "parrot", "pebble", "pencil", "pepper", "piano",
    "picnic", "pigeon", "pillow", "pilot", "planet", "plum", "pocket", "pond", "poppy", "porcelain", "potato",
    "prairie", "pumpkin", "puzzle", "quarry", "rabbit", "radish", "railway", "rainbow", "raven", "ribbon", "river",
    "robin", "rocket", "rose", "ruby", "saddle", "saffron", "salmon", "sandal", "satin", "saucer", "sculpture",
    "shadow", "shelter", "signal", "silver", "sister", "sketch", "sleigh", "snow", "soap", "spider", "spinach",
    "spoon", "spring", "squirrel", "stable", "statue", "storm", "summer", "sunset", "swan", "table", "tailor",
    "tango", "teapot", "temple", "thistle", "thunder", "ticket", "tiger", "timber", "tomato", "tower", "tractor",
    "trumpet", "tulip", "tunnel", "turtle", "umbrella", "valley", "vanilla", "velvet", "violet", "violin", "volcano",
    "wagon", "walnut", "walrus", "water", "wedding", "whistle", "willow", "window", "winter", "wizard", "wolf",
    "wooden", "yellow", "zebra", "zipper",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_order_and_plain() {
        assert!(WORDS.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(WORDS.iter().all(|w| (4..=9).contains(&w.len()) && w.bytes().all(|b| b.is_ascii_lowercase())));
    }
}
