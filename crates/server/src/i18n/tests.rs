use countersign_core::{factor::FactorKind, id::ChallengeId, voice::Row};

use super::{said::dictated, *};

/// As long as one segment allows.
const LONG: &str = "Northwind Outfitters";
const LINE: &str = "+49 800 55501990";
/// The machine makes tokens of 32 bytes in hexadecimal.
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn texts() -> Texts {
    let company = Company { name: LONG.into(), fraud_line: LINE.into(), link_base: "https://account.northwind-outfitters.com/".into() };
    Texts::load(company).unwrap()
}

fn action(text: &str) -> Action { text.parse().unwrap() }

fn shipped() -> Vec<Action> {
    [
        "change:phone", "change:email", "change:address", "change:password", "change:factors", "do:cancel_order",
        "do:end_freeze", "do:close_account", "do:redirect_parcel", "do:request_refund",
    ]
    .map(action)
    .into()
}

/// The shipped ones and some that nobody has words for.
fn actions() -> Vec<Action> {
    let strange = ["view:orders", "speak:upcoming", "mask:phone", "match:email", "change:zzz_plan", "do:zzz_thing", "use:totp", "reach:strong"];
    shipped().into_iter().chain(strange.map(action)).collect()
}

/// A Saturday.
const DAY: Timestamp = Timestamp(951_523_200_000 + 3 * 86_400_000);

fn prompts() -> Vec<Prompt> {
    let mut all = vec![
        Prompt::Welcome, Prompt::ChooseLanguage, Prompt::Recognised { upcoming: None }, Prompt::Recognised { upcoming: Some(DAY) },
        Prompt::Menu, Prompt::EnterServiceCode, Prompt::EnterAccountNumber, Prompt::EnterPostalCode, Prompt::Noted,
        Prompt::EnterSmsCode, Prompt::EnterVoiceCode, Prompt::EnterTotp, Prompt::EnterHotp, Prompt::EnterPin, Prompt::ProofHelp,
        Prompt::TryAgain, Prompt::NoMoreTries, Prompt::Verified, Prompt::BackToAgent, Prompt::ChooseMusic, Prompt::Waiting,
        Prompt::WaitingSpecialist, Prompt::Connecting, Prompt::NothingHeard, Prompt::Goodbye, Prompt::CannotHelp, Prompt::NobodyFree,
        Prompt::EnterBackupCode, Prompt::OneMoment, Prompt::ApproveInPortal { code: ChallengeId([1; 16]) }, Prompt::ApproveWithPasskey,
        Prompt::ApproveAtProvider { code: ChallengeId([1; 16]) }, Prompt::TypeInPortal { code: ChallengeId([1; 16]) }, Prompt::ApproveHelp,
        Prompt::CallBack, Prompt::WeCall, Prompt::WeRingBack, Prompt::RingingBack, Prompt::OnlineOnly,
        Prompt::SayVerbalPassword, Prompt::NotUnderstood,
        Prompt::VoiceConsent, Prompt::VoiceSay, Prompt::VoiceSayAgain, Prompt::VoiceOnceMore, Prompt::VoiceNoSpeech, Prompt::VoiceTooShort,
        Prompt::VoiceTooNoisy, Prompt::VoiceTooLoud, Prompt::VoiceNotTheSame, Prompt::VoiceKept, Prompt::VoiceThanks,
        Prompt::VoiceDigitsToo, Prompt::VoiceDigits { row: Row::try_from(String::from("31752")).unwrap() }, Prompt::VoiceNotApart, Prompt::VoiceAsYouLike, Prompt::VoiceNotNow,
    ];
    all.extend(actions().into_iter().map(|action| Prompt::StepUp { action }));
    all
}

fn code(code: &str, kind: FactorKind, action: Option<Action>) -> Body {
    Body::Code { code: Secret::new(code), challenge: ChallengeId([1; 16]), kind, action }
}

fn bodies() -> Vec<Body> {
    let token = || Secret::new(TOKEN);
    let mut all = vec![
        code("407192", FactorKind::SmsCode, None),
        code("407192", FactorKind::VoiceCode, None),
        Body::Summary { actions: Vec::new(), report: token() },
        Body::Summary { actions: actions(), report: token() },
    ];
    for action in actions() {
        all.push(code("407192", FactorKind::SmsCode, Some(action.clone())));
        all.push(code("407192", FactorKind::VoiceCode, Some(action.clone())));
        all.push(Body::Changed { action: action.clone(), undo: Some(token()) });
        all.push(Body::Changed { action: action.clone(), undo: None });
        all.push(Body::Summary { actions: vec![action.clone()], report: token() });
        all.push(Body::ChangedOnline { action: action.clone(), report: token() });
        all.push(Body::Online { action });
    }
    all
}

/// Words, all of them filled in.
fn sound(text: &str) -> bool {
    !text.trim().is_empty()
        && !text.contains(['{', '}', '$', '_', '\u{2068}', '\u{2069}', '\u{fffd}'])
        && !text.contains("zzz")
        && !text.contains("  ")
        && text.trim() == text
}

#[test]
fn every_prompt_has_words_in_every_language() {
    let texts = texts();
    for lang in Lang::ALL {
        for prompt in prompts() {
            for (_, text) in texts.spoken(lang, &prompt) {
                assert!(sound(&text), "{lang:?} {prompt:?}: {text}");
            }
        }
    }
    // No message for a prompt is left unused, so none was forgotten above.
    let used: BTreeSet<_> = prompts().iter().map(prompt_id).collect();
    let other = ["weekday", "month", "date", "day", "plus", "welcome-unnamed", "hello-unnamed", "goodbye-unnamed", "call-code", "call-notice", "call-online", "call-changed-online", "voice-phrase"];
    let written: BTreeSet<_> = ids(files(Lang::En)[0].1).filter(|id| !id.starts_with("action-") && !other.contains(id)).collect();
    assert_eq!(used, written);
}

#[test]
fn every_message_has_words_in_every_language() {
    let texts = texts();
    for lang in Lang::ALL {
        for body in bodies() {
            let mail = texts.mail(lang, &body);
            for text in [texts.sms(lang, &body), texts.voice_code(lang, &body), mail.subject.clone(), mail.text] {
                assert!(sound(&text), "{lang:?} {body:?}: {text}");
            }
            assert!(!mail.subject.contains(['\n', '\r']));
        }
    }
}

#[test]
fn receipts_have_words_in_every_language() {
    let texts = texts();
    let mut all = BTreeSet::new();
    for lang in Lang::ALL {
        for text in ReceiptText::ALL.map(|text| texts.receipt(lang, text)) {
            assert!(sound(&text), "{lang:?}: {text}");
            assert!(all.insert(text.clone()), "{lang:?}: {text} stands twice");
        }
    }
}

#[test]
fn every_action_has_words_and_none_its_name() {
    let texts = texts();
    for lang in Lang::ALL {
        for role in [Role::Wanted, Role::Purpose, Role::Done] {
            let own: BTreeSet<_> = shipped().iter().map(|a| texts.phrase(lang, role, a)).collect();
            assert_eq!(own.len(), shipped().len(), "{lang:?}: two actions share a wording");
            for action in actions() {
                let text = texts.phrase(lang, role, &action);
                assert!(sound(&text) && !text.ends_with('.'), "{lang:?} {action}: {text}");
                assert_eq!(own.contains(&text), shipped().contains(&action), "{lang:?} {action}");
            }
        }
        let odd = Action::new(Verb::Do, "");
        assert_eq!(texts.action(lang, &odd), texts.action(lang, &action("do:zzz_thing")));
    }
    assert_eq!(texts.action(Lang::En, &action("change:phone")), "change the phone number on your account");
}

#[test]
fn languages_have_the_same_messages_with_the_same_arguments() {
    fn shape(lang: Lang) -> Vec<(String, BTreeSet<String>)> {
        let mut out: Vec<(String, BTreeSet<String>)> = Vec::new();
        for line in files(lang).iter().flat_map(|(_, source)| source.lines()).filter(|line| !line.starts_with('#')) {
            if let Some(id) = ids(line).next() {
                out.push((id.to_owned(), BTreeSet::new()));
            }
            for argument in line.split('$').skip(1) {
                let name = argument.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
                out.last_mut().unwrap().1.insert(name);
            }
        }
        out
    }
    let english = shape(Lang::En);
    assert!(english.len() > 80);
    for lang in Lang::ALL {
        assert_eq!(shape(lang), english, "{lang:?}");
        assert_eq!(all_ids(lang).len(), english.len(), "{lang:?}: a message stands twice");
    }
}

#[test]
fn a_texted_code_is_one_segment_and_says_what_it_is_for() {
    let texts = texts();
    for lang in Lang::ALL {
        for purpose in actions().into_iter().map(Some).chain([None]) {
            // Six digits are the default; eight still fit.
            for digits in ["407192", "40719283"] {
                let text = texts.sms(lang, &code(digits, FactorKind::SmsCode, purpose.clone()));
                assert_eq!(segments(&text), 1, "{lang:?} {purpose:?}, {} characters: {text}", text.chars().count());
                assert!([LONG, LINE, digits].iter().all(|part| text.contains(part)), "{text}");
                if let Some(action) = &purpose {
                    assert!(text.contains(&gsm::fold(&texts.phrase(lang, Role::Purpose, action))), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_notice_with_its_link_is_two_segments() {
    let texts = texts();
    for lang in Lang::ALL {
        for body in bodies() {
            let (text, most) = (texts.sms(lang, &body), if matches!(body, Body::Code { .. }) { 1 } else { 2 });
            assert!(segments(&text) <= most, "{lang:?} {body:?}, {} characters: {text}", text.chars().count());
            assert_eq!(gsm::fold(&text), text);
        }
    }
}

#[test]
fn links_are_whole_and_nothing_sticks_to_them() {
    let texts = texts();
    let (undo, report) = (texts.undo_link(&Secret::new(TOKEN)), texts.report_link(&Secret::new(TOKEN)));
    assert_eq!(undo, format!("https://account.northwind-outfitters.com/undo/{TOKEN}"));
    assert_eq!(report, format!("https://account.northwind-outfitters.com/not-me/{TOKEN}"));
    assert!(texts.undo_link(&Secret::new("a/../b?c=d e")).ends_with("/undo/a%2F..%2Fb%3Fc%3Dd%20e"));
    for lang in Lang::ALL {
        for body in bodies() {
            let expected = match &body {
                Body::Code { .. } | Body::Changed { undo: None, .. } => None,
                Body::Changed { .. } => Some(undo.as_str()),
                Body::Summary { .. } | Body::ChangedOnline { .. } => Some(report.as_str()),
                Body::Ring { .. } => continue,
                Body::Online { .. } => Some("https://account.northwind-outfitters.com"),
            };
            for text in [texts.sms(lang, &body), texts.mail(lang, &body).text] {
                let links: Vec<_> = text.split_whitespace().filter(|word| word.contains("://")).collect();
                assert_eq!(links, Vec::from_iter(expected), "{lang:?} {body:?}");
                assert!(text.contains(LINE));
            }
            assert!(!texts.voice_code(lang, &body).contains("://"));
        }
    }
}

#[test]
fn an_email_never_holds_a_code() {
    let texts = texts();
    for lang in Lang::ALL {
        for body in bodies() {
            let mail = texts.mail(lang, &body);
            assert!(!mail.text.contains("407192") && !mail.subject.contains("407192"));
        }
    }
    assert!(!format!("{:?}", texts.mail(Lang::En, &bodies()[4])).contains("http"));
}

#[test]
fn a_spoken_code_is_said_digit_by_digit_and_twice() {
    let texts = texts();
    for lang in Lang::ALL {
        for action in actions().into_iter().map(Some).chain([None]) {
            let text = texts.voice_code(lang, &code("407192", FactorKind::VoiceCode, action));
            assert_eq!(text.matches("4, 0, 7, 1, 9, 2").count(), 2, "{text}");
            assert!(!text.contains("40") && !text.contains("4071"), "{text}");
            assert!(text.contains(&dictated(LINE, &texts.text(lang, "plus", &texts.args()))), "{text}");
        }
    }
    assert_eq!(dictated("+1 (800) 555-0199", "plus"), "plus 1, 8 0 0, 5 5 5, 0 1 9 9");
    assert_eq!(dictated("1-800-NOFRAUD", "plus"), "1, 8 0 0, NOFRAUD");
}

#[test]
fn the_ear_learns_nothing_about_which_part_failed() {
    let texts = texts();
    // After a claim or a wrong entry, not even the name of the thing.
    let mute = [
        "number", "account", "code", "pin", "postal", "match", "wrong", "incorrect", "found", "know",
        "número", "cuenta", "código", "postal", "coincid", "incorrect", "encontr", "conoc",
        "nummer", "konto", "code", "postleit", "stimm", "falsch", "gefunden", "kenn",
    ];
    // Never, in any prompt.
    let never = [
        "wrong", "incorrect", "invalid", "does not match", "did not match", "do not match", "no account", "not found", "risk", "fraud", "suspicious",
        "incorrect", "inválid", "no coincid", "ninguna cuenta", "no existe", "no encontr", "riesgo", "fraude", "sospech",
        "falsch", "ungültig", "stimmt nicht", "kein konto", "nicht gefunden", "risik", "betrug", "verdacht",
    ];
    for lang in Lang::ALL {
        for prompt in prompts() {
            let text = texts.prompt(lang, &prompt).to_lowercase();
            assert_eq!(never.iter().find(|word| text.contains(**word)), None, "{lang:?} {prompt:?}: {text}");
            if matches!(prompt, Prompt::Noted | Prompt::TryAgain | Prompt::NoMoreTries | Prompt::CannotHelp) {
                assert_eq!(mute.iter().find(|word| text.contains(**word)), None, "{lang:?} {prompt:?}: {text}");
            }
        }
    }
}

#[test]
fn prompts_are_short_and_name_the_key_last() {
    let texts = texts();
    let sentences = |text: &str| text.split_inclusive(['.', '?', '!']).map(|s| s.trim().to_owned()).collect::<Vec<_>>();
    for lang in Lang::ALL {
        for prompt in prompts() {
            for (lang, text) in texts.spoken(lang, &prompt) {
                for sentence in sentences(&text) {
                    assert!(sentence.split_whitespace().count() <= 20, "{lang:?} {prompt:?}: {sentence}");
                    let keys = matches!(prompt, Prompt::Menu | Prompt::ChooseMusic | Prompt::ChooseLanguage | Prompt::Recognised { upcoming: None });
                    if let (true, Some(at)) = (keys, sentence.find(|c: char| c.is_ascii_digit())) {
                        let rest = sentence[at + 1..].trim_end_matches('.').trim();
                        assert_eq!(rest, if lang == Lang::De { "drücken" } else { "" }, "{sentence}");
                    }
                }
            }
        }
        let menu = texts.prompt(lang, &Prompt::Menu);
        let keys: String = menu.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(keys, "1230");
        let music = texts.prompt(lang, &Prompt::ChooseMusic);
        assert_eq!(music.chars().filter(char::is_ascii_digit).collect::<String>(), "1234");
    }
}

#[test]
fn german_has_no_digit_that_sounds_like_an_ordinal() {
    let texts = texts();
    let ordinal = |text: &str| text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_digit() && pair[1] == b'.');
    let spoken = prompts().into_iter().filter(|p| !matches!(p, Prompt::Recognised { upcoming: Some(_) })).flat_map(|p| texts.spoken(Lang::De, &p));
    let spoken = spoken.filter(|(lang, _)| *lang == Lang::De).map(|(_, text)| text);
    for text in spoken.chain(bodies().iter().map(|body| texts.voice_code(Lang::De, body))) {
        assert!(!ordinal(&text), "{text}");
    }
}

#[test]
fn each_language_is_offered_in_itself_with_its_key() {
    let texts = texts();
    let offered = texts.spoken(Lang::De, &Prompt::ChooseLanguage);
    assert_eq!(offered.iter().map(|(lang, _)| *lang).collect::<Vec<_>>(), Lang::ALL);
    assert_eq!(
        texts.prompt(Lang::Es, &Prompt::ChooseLanguage),
        "For English, press 1. Para español, marque 2. Für Deutsch bitte die 3 drücken."
    );
}

#[test]
fn days_are_named() {
    let texts = texts();
    let days = |secs: i64| Lang::ALL.map(|lang| texts.day(lang, Timestamp(secs * 1000)));
    assert_eq!(days(0), ["Thursday, January 1", "jueves 1 de enero", "Donnerstag, 1. Januar"]);
    assert_eq!(days(-1), ["Wednesday, December 31", "miércoles 31 de diciembre", "Mittwoch, 31. Dezember"]);
    assert_eq!(days(951_782_400), ["Tuesday, February 29", "martes 29 de febrero", "Dienstag, 29. Februar"]);
    assert_eq!(days(2_000_000_000), ["Wednesday, May 18", "miércoles 18 de mayo", "Mittwoch, 18. Mai"]);
    let week: BTreeSet<_> = (0..7).map(|n| texts.day(Lang::En, Timestamp(n * 86_400_000)).split(',').next().unwrap().to_owned()).collect();
    let year: BTreeSet<_> = (0..12).map(|n| texts.day(Lang::De, Timestamp((n * 30 + 15) * 86_400_000)).split(' ').next_back().unwrap().to_owned()).collect();
    assert_eq!((week.len(), year.len()), (7, 12));
    assert!(sound(&texts.day(Lang::Es, Timestamp(i64::MIN))) && sound(&texts.day(Lang::Es, Timestamp(i64::MAX))));
}

#[test]
fn settings_that_would_spoil_a_message_are_refused() {
    let good = || Company { name: "Acme".into(), fraud_line: "0800 555 0199".into(), link_base: "http://localhost:8080".into() };
    assert!(Texts::load(good()).is_ok());
    let field = |company| match Texts::load(company) {
        Err(TextError::Company { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    for name in ["", " ", "Acme\r\nBcc: x"] {
        assert_eq!(field(Company { name: name.into(), ..good() }), "name");
    }
    for line in ["", "call us", "0800\n"] {
        assert_eq!(field(Company { fraud_line: line.into(), ..good() }), "fraud_line");
    }
    for base in ["", "example.com", "javascript:alert(1)", "https://", "https:///x", "https://a b", "https://a/?x=", "https://ávila.example"] {
        assert_eq!(field(Company { link_base: base.into(), ..good() }), "link_base", "{base}");
    }
}

#[test]
fn a_company_with_odd_signs_in_its_name_is_not_markup() {
    let company = Company { name: "A { $b } Ünïq €".into(), fraud_line: "112".into(), link_base: "https://a.example".into() };
    let texts = Texts::load(company).unwrap();
    assert_eq!(texts.prompt(Lang::En, &Prompt::Welcome), "Welcome to A { $b } Ünïq €.");
    assert!(texts.sms(Lang::En, &code("407192", FactorKind::SmsCode, None)).contains("A { $b } Üniq €"));
}

#[test]
fn texts_go_over_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Texts>();
}

/// Prints all that is ever said or sent: `cargo test -p countersign-server i18n -- --ignored --nocapture`.
#[test]
#[ignore = "for reading"]
fn read_aloud() {
    let texts = texts();
    for lang in Lang::ALL {
        for prompt in prompts() {
            println!("{lang:?} {:20} {}", prompt_id(&prompt), texts.prompt(lang, &prompt));
        }
        for body in bodies() {
            let (sms, mail) = (texts.sms(lang, &body), texts.mail(lang, &body));
            println!("\nSMS ({}): {sms}\nCALL: {}\nMAIL: {}\n{}", sms.chars().count(), texts.voice_code(lang, &body), mail.subject, mail.text);
        }
    }
}
