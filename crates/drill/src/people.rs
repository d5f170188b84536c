//! The cast: fictional customers with secrets that the drill knows, as in the demo.

use countersign_core::{
    account::{Access, Authenticator, Contact, ContactKind, Delegation, Material, Order, Profile},
    action::Field,
    claim::ClaimKind,
    factor::{Algorithm, FactorKind, Otp, Pepper, WordHash, WordRule, hotp},
    id::{AccountId, AuthenticatorId, ContactId, DelegationId},
    prompt::Lang,
    secret::Secret,
    time::{Span, Timestamp},
};

/// The name that an account of the cast has in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A PIN, a mobile, an e-mail address, a delivery under way.
    Ana,
    /// An authenticator app and a verbal password; may speak for Chidi.
    Liam,
    /// A landline and a PIN.
    Chidi,
    /// A PIN, and another one for when she is forced.
    Sofia,
    /// A mobile and nothing else.
    Jonas,
    /// A PIN; her e-mail address sounds like Dina's.
    Tina,
    /// An e-mail address alone.
    Dina,
}

/// On nobody's file.
pub const STRANGER: &str = "+12025550199";
/// A number that somebody wants a code sent to.
pub const NEW_NUMBER: &str = "+12025550150";

impl Who {
    /// Everybody.
    pub const ALL: [Self; 7] = [Self::Ana, Self::Liam, Self::Chidi, Self::Sofia, Self::Jonas, Self::Tina, Self::Dina];

    /// Their name in files of one's own drills.
    pub fn id(self) -> &'static str { self.row().id }
    /// Whoever has this name.
    pub fn parse(id: &str) -> Option<Self> { Self::ALL.into_iter().find(|who| who.id() == id) }
    /// Their first name, for the story.
    pub fn first(self) -> &'static str { self.row().name.split(' ').next().unwrap_or_default() }
    /// Their account.
    pub fn account(self) -> AccountId { AccountId([0xa0 + self as u8; 16]) }
    /// Their account number.
    pub fn number(self) -> &'static str { self.row().number }
    /// Their telephone, E.164; Dina has none.
    pub fn line(self) -> Option<&'static str> { self.row().line }
    /// Their PIN.
    pub fn pin(self) -> Option<&'static str> { self.row().pin }
    /// The PIN that means that they are forced.
    pub fn duress_pin(self) -> Option<&'static str> { self.row().duress }
    /// Their verbal password.
    pub fn word(self) -> Option<&'static str> { self.row().word }

    /// What an agent would note when the caller says this about them.
    pub fn says(self, kind: ClaimKind) -> Option<String> {
        let row = self.row();
        let text = match kind {
            ClaimKind::Number => row.line?.to_owned(),
            ClaimKind::AccountNumber => row.number.to_owned(),
            ClaimKind::Email => row.mail.to_owned(),
            ClaimKind::Name => row.name.to_owned(),
            ClaimKind::DateOfBirth => row.born.to_owned(),
            ClaimKind::PostalCode => row.postal.to_owned(),
            ClaimKind::OrderNumber => {
                row.due?;
                format!("7{}", row.number)
            }
        };
        Some(text)
    }

    /// What is on file for a field, as it would stand on a screen.
    pub fn on_file(self, field: Field) -> Option<String> {
        match field {
            Field::Upcoming => None,
            Field::Name => self.says(ClaimKind::Name),
            Field::AccountNumber => self.says(ClaimKind::AccountNumber),
            Field::Orders => self.says(ClaimKind::OrderNumber),
            Field::Phone => self.says(ClaimKind::Number),
            Field::Email => self.says(ClaimKind::Email),
            Field::Address => Some(self.row().address.to_owned()),
            Field::PostalCode => self.says(ClaimKind::PostalCode),
            Field::DateOfBirth => self.says(ClaimKind::DateOfBirth),
        }
    }

    fn row(self) -> Row {
        let row = |id, name, number, line, mail| Row {
            id, name, number, line, landline: false, mail, address: "", postal: "", born: "", lang: Lang::En, pin: None, duress: None, word: None, app: false, due: None,
        };
        match self {
            Self::Ana => Row {
                address: "12 Juniper Lane, Springfield", postal: "20500", born: "1984-03-09", pin: Some("4071"), due: Some(3),
                ..row("ana", "Ana Torres", "10004711", Some("+12025550142"), "ana.torres@example.com")
            },
            Self::Liam => Row {
                address: "5 Harbour Street, Portville", postal: "14770", born: "1979-11-30", word: Some("purple rhinoceros"), app: true,
                ..row("liam", "Liam Okafor", "10004712", Some("+12025550143"), "liam.okafor@example.com")
            },
            Self::Chidi => Row {
                address: "7 Harbour Street, Portville", postal: "14770", born: "1948-05-02", pin: Some("8264"), due: Some(5), landline: true,
                ..row("chidi", "Chidi Okafor", "10004713", Some("+12025550144"), "chidi.okafor@example.com")
            },
            Self::Sofia => Row {
                address: "88 Calle Olmo, Santa Fe", postal: "87501", born: "1991-07-21", pin: Some("5093"), duress: Some("5099"), due: Some(2),
                ..row("sofia", "Sofía Ruiz", "10004714", Some("+12025550145"), "sofia.ruiz@example.com")
            },
            Self::Jonas => Row {
                address: "3 Lindenweg, New Bremen", postal: "45869", born: "1988-12-12", due: Some(1),
                ..row("jonas", "Jonas Weber", "10004715", Some("+12025550146"), "jonas.weber@example.com")
            },
            Self::Tina => Row {
                address: "41 Mill Road, Brookfield", postal: "06804", born: "1995-02-14", pin: Some("7318"),
                ..row("tina", "Tina Bell", "10004716", Some("+12025550147"), "tina.bell@example.com")
            },
            Self::Dina => Row {
                address: "9 Quarry Hill, Bethel", postal: "06810", born: "1990-10-01", ..row("dina", "Dina Bell", "10004717", None, "dina.bell@example.com")
            },
        }
    }
}

struct Row {
    id: &'static str,
    name: &'static str,
    number: &'static str,
    line: Option<&'static str>,
    landline: bool,
    mail: &'static str,
    address: &'static str,
    postal: &'static str,
    born: &'static str,
    lang: Lang,
    pin: Option<&'static str>,
    duress: Option<&'static str>,
    word: Option<&'static str>,
    app: bool,
    due: Option<i64>,
}

/// The key of Liam's authenticator app.
pub fn liam_app() -> Otp { Otp { key: Secret::new(hex::encode(b"a-drill-app-of-liams")), digits: 6, algorithm: Algorithm::Sha1, step: Some(30) } }

/// The code that an app shows at this time.
pub fn totp(otp: &Otp, now: Timestamp) -> String {
    let step = u64::try_from(now.unix() / 30).unwrap_or_default();
    hotp(otp, step).map(|code| code.expose().to_owned()).unwrap_or_default()
}

/// Everybody's profile, with secrets hashed under this pepper. Hashing takes 20 ms a word: it is
/// done once for all drills of a run.
pub fn cast(pepper: &Pepper, now: Timestamp) -> Vec<Profile> {
    let mut all: Vec<Profile> = Who::ALL.into_iter().map(|who| profile(who, pepper, now)).collect();
    let actions = ["view:orders", "view:name", "do:cancel_order"].iter().filter_map(|a| a.parse().ok()).collect();
    let permission = Delegation {
        id: DelegationId([0x71; 16]), delegate: Who::Liam.account(), kind: "power_of_attorney".into(), actions, until: now + Span::days(365),
    };
    all.iter_mut().filter(|p| p.id == Who::Chidi.account()).for_each(|p| p.delegations.push(permission.clone()));
    all
}

fn profile(who: Who, pepper: &Pepper, now: Timestamp) -> Profile {
    let row = who.row();
    let id = who.account();
    let part = |place: u8, n: usize| {
        let mut bytes = id.0;
        let [.., a, b] = &mut bytes;
        (*a, *b) = (place, u8::try_from(n).unwrap_or(u8::MAX));
        bytes
    };
    let hash = |kind: FactorKind, word: &str| WordHash::make(&WordRule::of(kind).normalise(&word.into()), part(3, word.len()), pepper);
    let mut authenticators: Vec<Authenticator> = Vec::new();
    let mut bind = |kind, material| {
        let id = AuthenticatorId(part(2, authenticators.len()));
        authenticators.push(Authenticator { id, kind, material, added: Timestamp(0), usable_from: Timestamp(0) });
    };
    if row.app {
        bind(FactorKind::Totp, Material::Otp(liam_app()));
    }
    if let Some(pin) = row.pin {
        let duress = row.duress.map_or_else(WordHash::decoy, |d| hash(FactorKind::Pin, d));
        bind(FactorKind::Pin, Material::Word { real: hash(FactorKind::Pin, pin), duress });
    }
    if let Some(word) = row.word {
        bind(FactorKind::VerbalPassword, Material::Word { real: hash(FactorKind::VerbalPassword, word), duress: WordHash::decoy() });
    }
    let phone = row.line.map(|line| (if row.landline { ContactKind::Landline } else { ContactKind::Mobile }, line));
    let contacts = phone.into_iter().chain([(ContactKind::Email, row.mail)]).enumerate().map(|(n, (kind, value))| Contact {
        id: ContactId(part(1, n)), kind, value: value.into(), usable_from: now - Span::days(400), no_texts: false, retired: None,
    }).collect();
    let order = |due: i64| Order { number: Secret::new(format!("7{}", row.number)), what: "Reading lamp".into(), status: "shipped".into(), due: Some(now + Span::days(due)) };
    Profile {
        id, number: row.number.into(), name: row.name.into(), date_of_birth: row.born.into(), address: row.address.into(), postal_code: row.postal.into(),
        language: Some(row.lang), contacts, orders: row.due.map(order).into_iter().collect(), authenticators, delegations: Vec::new(),
        preferred: row.pin.map(|_| FactorKind::Pin), frozen: None, phone_lock: false, never_sms: false, access: Access::default(), portal: None, push: Vec::new(), voice: None,
        changed: None, events: 0,
    }
}

/// What differs between two states of an account, in words of actions: what an attacker would have got.
pub fn changes(before: &Profile, after: &Profile) -> Vec<&'static str> {
    let contacts = |p: &Profile, mail: bool| {
        let mut values: Vec<String> = p.present_contacts().filter(|c| (c.kind == ContactKind::Email) == mail).map(|c| c.value.expose().to_owned()).collect();
        values.sort();
        values
    };
    let factors = |p: &Profile| {
        let mut ids: Vec<AuthenticatorId> = p.authenticators.iter().map(|a| a.id).collect();
        ids.sort_unstable();
        ids
    };
    let orders = |p: &Profile| p.orders.iter().map(|o| o.status.clone()).collect::<Vec<_>>();
    [
        ("change:phone", contacts(before, false) != contacts(after, false)),
        ("change:email", contacts(before, true) != contacts(after, true)),
        ("change:address", before.address.expose() != after.address.expose() || before.postal_code.expose() != after.postal_code.expose()),
        ("change:factors", factors(before) != factors(after)),
        ("do:cancel_order", orders(before) != orders(after)),
        ("do:end_freeze", before.frozen.is_some() && after.frozen.is_none()),
    ].into_iter().filter(|(_, changed)| *changed).map(|(action, _)| action).collect()
}
