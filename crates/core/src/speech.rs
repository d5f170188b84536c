//! What a machine heard a caller say. A recogniser guesses, so that what it is not sure of is no answer:
//! neither right nor wrong, and nobody is told which words it thought of.

use crate::{prompt::Lang, secret::Secret};

/// Longest that is looked at, in characters: a verbal password has 64 at most.
const LONGEST: usize = 200;

/// The words of a caller as a recogniser understood them.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The words. A secret: a password may be among them whatever was asked.
    pub text: Secret,
    /// How sure it is, in percent.
    pub confidence: u8,
}

/// Whether calls are asked to say verbal passwords to a machine, and to which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hearing {
    /// The adapter whose telephony has a recogniser.
    pub adapter: String,
    /// What it is less sure of than this, in percent, was not heard.
    pub floor: u8,
}

/// Somebody who turns what a caller says into words.
pub trait SpeechRecognizer {
    /// How it answers: a form, a message, a line of a script.
    type Answer: ?Sized;
    /// Why an answer is refused.
    type Error;

    /// The words of an answer. `None`: nothing was said.
    ///
    /// # Errors
    /// The answer is not of its form.
    fn heard(&self, answer: &Self::Answer) -> Result<Option<Heard>, Self::Error>;
}

impl Heard {
    /// What there is to judge, in the spelling of somebody who types: numbers up to twelve are words, and
    /// the rule for typed passwords does the rest. `None`: too unsure, too long, or nothing.
    ///
    /// There is one answer, never a list of what sounds alike: with that, a guess would count as several.
    pub fn words(&self, lang: Lang, floor: u8) -> Option<Secret> {
        let text = self.text.expose().trim();
        if self.confidence < floor || text.is_empty() || text.chars().count() > LONGEST {
            return None;
        }
        let words: Vec<&str> = text.split_whitespace().map(|word| number(word.trim_matches(|c: char| !c.is_alphanumeric()), lang).unwrap_or(word)).collect();
        Some(Secret::new(words.join(" ")))
    }
}

/// Recognisers write small numbers as digits, people who choose words do not.
fn number(digits: &str, lang: Lang) -> Option<&'static str> {
    let words: [&str; 13] = match lang {
        Lang::En => ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
        Lang::Es => ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once", "doce"],
        Lang::De => ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"],
    };
    let plain = digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    words.get(digits.parse::<usize>().ok().filter(|_| plain)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::WordRule;

    fn words(text: &str, confidence: u8, lang: Lang) -> Option<String> {
        let heard = Heard { text: text.into(), confidence };
        heard.words(lang, 80).map(|words| WordRule::Verbal.normalise(&words).expose().to_owned())
    }

    #[test]
    fn words_are_spelled_as_somebody_types_them() {
        assert_eq!(words(" Seven green bottles. ", 95, Lang::En).as_deref(), Some("seven green bottles"));
        assert_eq!(words("7 green, bottles!", 95, Lang::En).as_deref(), Some("seven green bottles"));
        assert_eq!(words("¡12 Niñas!", 95, Lang::Es), words("doce niñas", 95, Lang::Es));
        assert_eq!(words("5 Äpfel", 95, Lang::De), words("fünf äpfel", 95, Lang::De));
        // Another number is another password: 07 is no seven, 70 neither.
        assert_eq!(words("07 70 13", 95, Lang::En).as_deref(), Some("07 70 13"));
    }

    #[test]
    fn what_is_unsure_long_or_nothing_is_not_heard() {
        assert_eq!(words("purple rhinoceros", 79, Lang::En), None);
        assert!(words("purple rhinoceros", 80, Lang::En).is_some());
        assert_eq!(words(" \n", 99, Lang::En), None);
        assert_eq!(words(&"purple ".repeat(40), 99, Lang::En), None);
    }

    #[test]
    fn what_sounds_alike_is_not_the_same() {
        for (said, meant) in [("for candles", "four candles"), ("two bears", "too bears"), ("purple rhino", "purple rhinoceros"), ("blue whale", "blue wale")] {
            assert_ne!(words(said, 99, Lang::En), words(meant, 99, Lang::En));
        }
    }

    #[test]
    fn what_was_heard_is_not_shown() {
        let heard = Heard { text: "purple rhinoceros".into(), confidence: 90 };
        assert!(!format!("{heard:?}").contains("purple"));
    }
}
