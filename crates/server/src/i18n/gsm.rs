//! What fits into a text message (3GPP TS 23.038, TS 23.040).

/// GSM 7-bit default alphabet: one septet each.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
    ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its extension table: an escape and the character, two septets.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";
/// What stands for letters and signs that GSM-7 lacks.
const PLAIN: &[(&str, &str)] = &[
    ("áâãāăą", "a"), ("ÁÀÂÃĀĂĄ", "A"), ("çćč", "c"), ("ĆČ", "C"), ("ďđ", "d"), ("ĎĐ", "D"), ("êëēėęě", "e"),
    ("ÈÊËĒĖĘĚ", "E"), ("ğ", "g"), ("Ğ", "G"), ("íîïīıį", "i"), ("ÍÌÎÏĪİĮ", "I"), ("łľ", "l"), ("ŁĽ", "L"),
    ("ńň", "n"), ("ŃŇ", "N"), ("óôõōő", "o"), ("ÓÒÔÕŌŐ", "O"), ("ř", "r"), ("Ř", "R"), ("śšşș", "s"),
    ("ŚŠŞȘ", "S"), ("ťţț", "t"), ("ŤŢȚ", "T"), ("úûūůűų", "u"), ("ÚÙÛŪŮŰŲ", "U"), ("ýÿ", "y"), ("ÝŸ", "Y"),
    ("źżž", "z"), ("ŹŻŽ", "Z"), ("œ", "oe"), ("Œ", "OE"), ("ẞ", "SS"), ("‘’‚‛´`", "'"), ("“”„«»", "\""),
    ("–—‐‑−", "-"), ("…", "..."), ("·•", "-"), ("\u{a0}\u{202f}\u{2009}\t", " "),
];

fn septets(c: char) -> Option<usize> {
    if BASIC.contains(c) { Some(1) } else { EXTENSION.contains(c).then_some(2) }
}

/// How many segments a text message takes: 160 septets of GSM-7 alone or 153 each in several;
/// with any other character 70 or 67 units of UCS-2. A character is never split over two.
pub fn segments(text: &str) -> usize {
    match text.chars().map(septets).collect::<Option<Vec<_>>>() {
        Some(units) => count(&units, 160, 153),
        None => count(&text.chars().map(char::len_utf16).collect::<Vec<_>>(), 70, 67),
    }
}

fn count(units: &[usize], alone: usize, each: usize) -> usize {
    if units.iter().sum::<usize>() <= alone {
        return 1;
    }
    let (full, _) = units.iter().fold((1, 0), |(parts, used), n| if used + n <= each { (parts, used + n) } else { (parts + 1, *n) });
    full
}

/// The text in GSM-7, with the nearest letters for those it lacks ("dirección" becomes
/// "direccion", which costs an accent and saves a segment). A text in another script is left as
/// it is: it goes as UCS-2 anyway.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if septets(c).is_some() {
            out.push(c);
        } else if let Some((_, plain)) = PLAIN.iter().find(|(from, _)| from.contains(c)) {
            out.push_str(plain);
        } else {
            return text.to_owned();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_the_alphabet() {
        for (text, expected) in [
            (String::new(), 1),
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(306), 2),
            ("a".repeat(307), 3),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            // 76 signs of two septets leave the 153rd septet of a segment empty.
            ("€".repeat(152), 2),
            ("€".repeat(153), 3),
            ("ñéèàùìòäöüßÉÑ¿¡".repeat(10), 1),
            ("á".repeat(70), 1),
            ("á".repeat(71), 2),
            ("á".repeat(134), 2),
            ("á".repeat(135), 3),
            ("😀".repeat(35), 1),
            ("😀".repeat(36), 2),
            ("😀".repeat(66), 2),
            ("😀".repeat(67), 3),
        ] {
            assert_eq!(segments(&text), expected, "{} of {:?}", text.chars().count(), text.chars().next());
        }
    }

    #[test]
    fn the_alphabets_have_their_size() {
        assert_eq!((BASIC.chars().count(), EXTENSION.chars().count()), (127, 10), "with the escape 128");
    }

    #[test]
    fn folding_costs_accents_only() {
        assert_eq!(fold("Está: ¿cómo? ñandú “sí” – él…"), "Esta: ¿como? ñandu \"si\" - él...");
        assert_eq!(fold("Größe, naïve, 10 €"), "Größe, naive, 10 €");
        assert_eq!(fold("Привет, Está"), "Привет, Está", "goes as UCS-2 anyway");
        assert!(PLAIN.iter().all(|(from, to)| from.chars().all(|c| septets(c).is_none()) && to.chars().all(|c| septets(c) == Some(1))));
    }
}
