//! Fictional customers, as in the demo, with secrets that the tests know.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock},
};

use countersign_core::{
    account::{Access, Authenticator, Contact, ContactKind, Delegation, Material, Order, Profile},
    factor::{Algorithm, FactorKind, Otp, Pepper, WordHash, WordRule, hotp},
    id::{AccountId, AuthenticatorId, ContactId, DelegationId},
    prompt::Lang,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_server::vault::Vault;

pub const ANA: AccountId = AccountId([0xa1; 16]);
pub const LIAM: AccountId = AccountId([0xb1; 16]);
pub const CHIDI: AccountId = AccountId([0xc1; 16]);
pub const SOFIA: AccountId = AccountId([0xd1; 16]);
pub const JONAS: AccountId = AccountId([0xe1; 16]);
pub const TINA: AccountId = AccountId([0xf1; 16]);
pub const DINA: AccountId = AccountId([0xf2; 16]);
pub const HANNA: AccountId = AccountId([0xab; 16]);

pub const ANA_LINE: &str = "+12025550142";
pub const LIAM_LINE: &str = "+12025550143";
pub const CHIDI_LINE: &str = "+12025550144";
pub const SOFIA_LINE: &str = "+12025550145";
pub const JONAS_LINE: &str = "+12025550146";
pub const TINA_LINE: &str = "+12025550147";
pub const HANNA_LINE: &str = "+12025550148";
/// On nobody's file.
pub const STRANGER: &str = "+12025550199";

pub const ANA_MAIL: &str = "ana.torres@example.com";
pub const CHIDI_MAIL: &str = "chidi.okafor@example.com";
pub const LIAM_WORD: &str = "purple rhinoceros";

/// Everything about Ana that nobody may learn from us.
pub const ANA_PRIVATE: [&str; 14] = [
    "Ana", "Torres", "2025550142", "+12025550142", "10004711", "710004711", "1984-03-09", "19840309", "Juniper Lane", "Springfield", "20500",
    "ana.torres", "ana.torres@example.com", "4071",
];
pub const LIAM_PRIVATE: [&str; 12] = [
    "Liam", "Okafor", "2025550143", "+12025550143", "10004712", "1979-11-30", "Harbour Street", "Portville", "14770", "liam.okafor", "liam.okafor@example.com", "rhinoceros",
];
pub const TINA_PRIVATE: [&str; 13] = [
    "Tina", "Bell", "2025550147", "+12025550147", "10004716", "1995-02-14", "Mill Road", "Brookfield", "06804", "tina.bell", "tina.bell@example.com", "7318", "19950214",
];

/// Somebody at the desk signs in with this.
pub fn password(name: &str) -> Secret { Secret::new(format!("the long password of {name}")) }

pub fn liam_app() -> Otp { Otp { key: Secret::new(hex::encode(b"an-app-key-of-liam-s")), digits: 6, algorithm: Algorithm::Sha1, step: Some(30) } }
pub fn hanna_token() -> Otp { Otp { key: Secret::new(hex::encode(b"a-token-key-of-hanna")), digits: 6, algorithm: Algorithm::Sha1, step: None } }

/// The code of an app at this time.
pub fn totp(otp: &Otp, now: Timestamp) -> Secret { hotp(otp, u64::try_from(now.unix() / 30).unwrap()).unwrap() }

/// Liam's code at this time.
pub fn liam_code(now: Timestamp) -> String { totp(&liam_app(), now).expose().to_owned() }

/// Hashing takes 20 ms: every word is hashed once for all tests.
fn hash(kind: FactorKind, word: &str) -> WordHash {
    static KNOWN: OnceLock<Mutex<HashMap<String, WordHash>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap();
    let make = || WordHash::make(&WordRule::of(kind).normalise(&word.into()), [7; 16], &Vault::new(&super::MASTER).pepper);
    known.entry(format!("{kind} {word}")).or_insert_with(make).clone()
}

/// The same words, as a company with another pepper keeps them.
pub fn rehash(profile: &mut Profile, pepper: &Pepper) {
    let words = [(ANA, FactorKind::Pin, "4071"), (LIAM, FactorKind::VerbalPassword, LIAM_WORD), (TINA, FactorKind::Pin, "7318")];
    for authenticator in &mut profile.authenticators {
        let known = words.iter().find(|(account, kind, _)| (*account, *kind) == (profile.id, authenticator.kind));
        if let (Material::Word { real, .. }, Some((_, kind, word))) = (&mut authenticator.material, known) {
            *real = WordHash::make(&WordRule::of(*kind).normalise(&(*word).into()), [8; 16], pepper);
        }
    }
}

/// A customer with nothing but a name and a number.
pub struct Somebody(pub Profile);

impl Somebody {
    pub fn new(id: AccountId, number: &str, name: &str) -> Self {
        Self(Profile {
            id, number: number.into(), name: name.into(), date_of_birth: Secret::default(), address: Secret::default(), postal_code: Secret::default(),
            language: Some(Lang::En), contacts: Vec::new(), orders: Vec::new(), authenticators: Vec::new(), delegations: Vec::new(), preferred: None,
            frozen: None, phone_lock: false, never_sms: false, access: Access::default(), portal: None, push: Vec::new(), voice: None, changed: None, events: 0,
        })
    }
    pub fn at(mut self, address: &str, postal_code: &str, born: &str) -> Self {
        (self.0.address, self.0.postal_code, self.0.date_of_birth) = (address.into(), postal_code.into(), born.into());
        self
    }
    pub fn lang(mut self, lang: Lang) -> Self {
        self.0.language = Some(lang);
        self
    }
    /// A contact that has been there for more than a year.
    pub fn contact(mut self, kind: ContactKind, value: &str, now: Timestamp) -> Self {
        let mut id = self.0.id.0;
        id[15] = u8::try_from(self.0.contacts.len()).unwrap() + 1;
        self.0.contacts.push(Contact { id: ContactId(id), kind, value: value.into(), usable_from: now - Span::days(400), no_texts: false, retired: None });
        self
    }
    pub fn word(mut self, kind: FactorKind, real: &str, duress: Option<&str>) -> Self {
        let material = Material::Word { real: hash(kind, real), duress: duress.map_or_else(WordHash::decoy, |d| hash(kind, d)) };
        self.add(kind, material);
        self
    }
    pub fn otp(mut self, kind: FactorKind, otp: Otp) -> Self {
        self.add(kind, Material::Otp(otp));
        self
    }
    fn add(&mut self, kind: FactorKind, material: Material) {
        let mut id = self.0.id.0;
        id[14] = u8::try_from(self.0.authenticators.len()).unwrap() + 1;
        self.0.authenticators.push(Authenticator { id: AuthenticatorId(id), kind, material, added: countersign_core::time::Timestamp(0), usable_from: Timestamp(0) });
    }
    /// Something under way.
    pub fn order(mut self, due: Timestamp) -> Self {
        let number = Secret::new(format!("7{}", self.0.number.expose()));
        self.0.orders.push(Order { number, what: "Reading lamp".into(), status: "shipped".into(), due: Some(due) });
        self
    }
}

/// The cast.
pub fn everybody(now: Timestamp) -> Vec<Profile> {
    use ContactKind::{Email, Landline, Mobile};
    let mut ana = Somebody::new(ANA, "10004711", "Ana Torres").at("12 Juniper Lane, Springfield", "20500", "1984-03-09")
        .contact(Mobile, ANA_LINE, now).contact(Email, ANA_MAIL, now).word(FactorKind::Pin, "4071", None).order(now + Span::days(3)).0;
    ana.preferred = Some(FactorKind::Pin);
    let liam = Somebody::new(LIAM, "10004712", "Liam Okafor").at("5 Harbour Street, Portville", "14770", "1979-11-30")
        .contact(Mobile, LIAM_LINE, now).contact(Email, "liam.okafor@example.com", now)
        .otp(FactorKind::Totp, liam_app()).word(FactorKind::VerbalPassword, LIAM_WORD, None).0;
    let mut chidi = Somebody::new(CHIDI, "10004713", "Chidi Okafor").at("7 Harbour Street, Portville", "14770", "1948-05-02")
        .contact(Landline, CHIDI_LINE, now).contact(Email, CHIDI_MAIL, now).word(FactorKind::Pin, "8264", None).order(now + Span::days(5)).0;
    let actions = ["view:orders", "view:name", "do:cancel_order", "do:request_refund", "change:address"];
    chidi.delegations.push(Delegation {
        id: DelegationId([0xcc; 16]), delegate: LIAM, kind: "power_of_attorney".into(),
        actions: actions.iter().map(|a| a.parse().unwrap()).collect(), until: now + Span::days(365),
    });
    let mut sofia = Somebody::new(SOFIA, "10004714", "Sofía Ruiz").at("88 Calle Olmo, Santa Fe", "87501", "1991-07-21").lang(Lang::Es)
        .contact(Mobile, SOFIA_LINE, now).contact(Email, "sofia.ruiz@example.com", now).word(FactorKind::Pin, "5093", Some("5099")).0;
    sofia.preferred = Some(FactorKind::Pin);
    let jonas = Somebody::new(JONAS, "10004715", "Jonas Weber").at("3 Lindenweg, New Bremen", "45869", "1988-12-12").lang(Lang::De)
        .contact(Mobile, JONAS_LINE, now).contact(Email, "jonas.weber@example.com", now).order(now + Span::days(1)).0;
    let mut tina = Somebody::new(TINA, "10004716", "Tina Bell").at("41 Mill Road, Brookfield", "06804", "1995-02-14")
        .contact(Mobile, TINA_LINE, now).contact(Email, "tina.bell@example.com", now).word(FactorKind::Pin, "7318", None).0;
    tina.preferred = Some(FactorKind::Pin);
    let dina = Somebody::new(DINA, "10004717", "Dina Bell").at("9 Quarry Hill, Bethel", "06810", "1990-10-01")
        .contact(Email, "dina.bell@example.com", now).0;
    let hanna = Somebody::new(HANNA, "10004718", "Hanna Lindqvist").at("2 Fjord Row, Lakeside", "60601", "1982-08-08")
        .contact(Mobile, HANNA_LINE, now).contact(Email, "hanna@example.com", now).otp(FactorKind::Hotp, hanna_token()).0;
    vec![ana, liam, chidi, sofia, jonas, tina, dina, hanna]
}
