//! A few customers and their secrets, and the index over them.

use std::{collections::HashMap, sync::LazyLock};

use countersign_core::{
    account::Profile,
    action::Field,
    claim::{ClaimKind, IndexKey, normalise},
    factor::{Algorithm, BackupCodes, FactorKind, Otp, Pepper, WordHash, hotp},
    id::{AccountId, AuthenticatorId},
    prompt::Lang,
    secret::{Blind, Secret},
    time::{Span, Timestamp},
    voice,
};
use serde_json::{Value, json};

/// 2027-01-15T08:00:00Z.
pub const START: Timestamp = Timestamp(1_800_000_000_000);

/// The customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// Mobile, verbal password, PIN with a duress PIN; speaks English; something upcoming.
    Ana,
    /// Authenticator app and PIN, no language on file.
    Liam,
    /// Shares a landline with Dina; her e-mail address sounds like Dina's. Delegates to Grace.
    Tina,
    /// See Tina.
    Dina,
    /// Speaks for Tina; app and PIN.
    Grace,
    /// Frozen, phone channel locked, a mobile that is cooling off beside an old one.
    Omar,
    /// A passkey, a device that can be woken, an account at the provider, backup codes, a landline.
    Pia,
}
pub const ALL: [Who; 7] = [Who::Ana, Who::Liam, Who::Tina, Who::Dina, Who::Grace, Who::Omar, Who::Pia];

impl Who {
    fn n(self) -> u8 { self as u8 + 1 }
    pub fn id(self) -> AccountId { AccountId([self.n(); 16]) }
    pub fn of(id: AccountId) -> Option<Self> { ALL.into_iter().find(|w| w.id() == id) }
    pub fn number(self) -> &'static str {
        ["AC-ANA-7001", "AC-LIAM-7002", "AC-TINA-7003", "AC-DINA-7004", "AC-GRACE-7005", "AC-OMAR-7006", "AC-PIA-7007"][self as usize]
    }
    pub fn name(self) -> &'static str {
        ["Ana Torres", "Liam Okafor", "Martina Bellweather", "Ondine Bollivar", "Grace Hopperton", "Omar Haddad", "Pia Lindqvist"][self as usize]
    }
    pub fn email(self) -> &'static str {
        ["ana.torres@example.com", "liam.okafor@example.com", "tina.bell@example.com", "dina.bell@example.com", "grace.h@example.com", "omar.h@example.com", "pia.l@example.com"][self as usize]
    }
    pub fn birth(self) -> &'static str {
        ["1984-03-09", "1990-11-23", "1971-07-30", "1969-01-12", "1958-12-09", "1995-05-05", "1977-02-17"][self as usize]
    }
    pub fn address(self) -> &'static str {
        ["12 Larkspur Lane Milltown", "4 Quarry Row Ashby", "77 Foxglove Close Penn", "8 Hazel Drive Penn", "1 Harbour View Eastquay", "30 Sumac Street Dale", "5 Tarn Road Kelby"][self as usize]
    }
    pub fn postal(self) -> &'static str {
        ["QX4 7TR", "LM2 9KF", "TB3 3BW", "DB8 1HD", "GH1 5EQ", "OH9 6DS", "PL2 8KB"][self as usize]
    }
    /// The telephone that calls come from.
    pub fn phone(self) -> &'static str {
        ["+12025550142", "+12025550155", SHARED, SHARED, "+12025550177", "+12025550188", "+12025550166"][self as usize]
    }
    pub fn pin(self) -> Option<&'static str> {
        [Some("4071"), Some("8126"), None, None, Some("5938"), None, None][self as usize]
    }
    pub fn claim(self, kind: ClaimKind) -> &'static str {
        match kind {
            ClaimKind::Number => self.phone(),
            ClaimKind::AccountNumber => self.number(),
            ClaimKind::Email => self.email(),
            ClaimKind::Name => self.name(),
            ClaimKind::DateOfBirth => self.birth(),
            ClaimKind::PostalCode => self.postal(),
            ClaimKind::OrderNumber => "ORD-ANA-1",
        }
    }
}

/// The landline of Tina and Dina.
pub const SHARED: &str = "+12025550199";
pub const DURESS: &str = "4079";
/// Calls from here come to the number that only the portal dials.
pub const APP_CALL: &str = "+12025550133";
/// Pia's printed list.
pub const BACKUP: [&str; 2] = ["8830174425", "1190562388"];
pub const VERBAL: &str = "purple rhinoceros";
const KEY: &str = "3132333435363738393031323334353637383930";

pub fn index_key() -> IndexKey { IndexKey::new([0x41; 32]) }
pub fn pepper() -> Pepper { Pepper::new([0x42; 32]) }

pub fn otp(step: Option<u32>) -> Otp { Otp { key: KEY.into(), digits: 6, algorithm: Algorithm::Sha1, step } }

/// What an authenticator app shows.
pub fn totp_at(now: Timestamp) -> String { hotp(&otp(Some(30)), u64::try_from(now.unix()).unwrap() / 30).unwrap().expose().to_owned() }

fn id(prefix: &str, who: Who, n: u8) -> String { format!("{prefix}_{}", hex::encode([who.n() * 16 + n; 16])) }
pub fn auth(who: Who, n: u8) -> AuthenticatorId { AuthenticatorId([who.n() * 16 + n; 16]) }

fn word(salt: u8, text: &str) -> Value { serde_json::to_value(WordHash::make(&text.into(), [salt; 16], &pepper())).unwrap() }
fn decoy() -> Value { serde_json::to_value(WordHash::decoy()).unwrap() }

fn contact(who: Who, n: u8, kind: &str, value: &str, from: Timestamp) -> Value {
    json!({ "id": id("cont", who, n), "kind": kind, "value": value, "usable_from": from })
}

fn pin(who: Who, real: Value, duress: Value) -> Value {
    json!({ "id": id("auth", who, 1), "kind": "pin", "material": { "word": { "real": real, "duress": duress } } })
}

fn app(who: Who) -> Value {
    json!({ "id": id("auth", who, 2), "kind": "totp", "material": { "otp": serde_json::to_value(otp(Some(30))).unwrap() } })
}

fn token(who: Who) -> Value {
    json!({ "id": id("auth", who, 3), "kind": "hotp", "material": { "otp": serde_json::to_value(otp(None)).unwrap() } })
}

/// Made once: argon2 is slow on purpose.
static PROFILES: LazyLock<Vec<Profile>> = LazyLock::new(|| ALL.into_iter().map(profile).collect());
pub fn profiles() -> Vec<Profile> { PROFILES.clone() }

fn profile(who: Who) -> Profile {
    let old = Timestamp(0);
    let mut value = json!({
        "id": who.id(), "number": who.number(), "name": who.name(), "date_of_birth": who.birth(),
        "address": who.address(), "postal_code": who.postal(),
        "contacts": [contact(who, 8, "email", who.email(), old)],
    });
    let phone = if who.phone() == SHARED || who == Who::Pia { "landline" } else { "mobile" };
    value["contacts"].as_array_mut().unwrap().push(contact(who, 9, phone, who.phone(), old));
    match who {
        Who::Ana => {
            value["language"] = json!("en");
            value["orders"] = json!([{ "number": "ORD-ANA-1", "what": "Blue kettle", "status": "shipped", "due": START + Span::days(2) }]);
            value["authenticators"] = json!([
                pin(who, word(1, "4071"), word(2, DURESS)),
                { "id": id("auth", who, 4), "kind": "verbal_password", "material": { "word": { "real": word(3, VERBAL), "duress": decoy() } } },
            ]);
        }
        Who::Liam => value["authenticators"] = json!([pin(who, word(4, "8126"), decoy()), app(who)]),
        Who::Tina => {
            let until = START + Span::days(30);
            let delegation = |n: u8, delegate: Who, until: Timestamp| json!({
                "id": id("dlg", who, n), "delegate": delegate.id(), "kind": "guardian", "actions": ["view:orders", "do:cancel_order"], "until": until,
            });
            value["orders"] = json!([{ "number": "ORD-TINA-2", "what": "Red lamp", "status": "open" }]);
            // Liam's has run out.
            value["delegations"] = json!([delegation(1, Who::Grace, until), delegation(2, Who::Liam, START - Span::days(1))]);
        }
        Who::Dina => {}
        Who::Pia => {
            let codes = BackupCodes::make(auth(who, 5), &BACKUP.map(Secret::from), &pepper());
            value["push"] = json!([{ "endpoint": "https://push.example.com/1", "p256dh": "k", "auth": "a", "added": old }]);
            value["authenticators"] = json!([
                { "id": id("auth", who, 6), "kind": "passkey", "material": { "passkey": { "name": "Phone", "credential": "{}", "added": old } } },
                { "id": id("auth", who, 5), "kind": "backup_code", "material": { "codes": { "codes": codes, "added": old } } },
                { "id": id("auth", who, 7), "kind": "provider", "material": { "provider": { "issuer": "https://login.example.com", "subject": "pia", "asks": true } } },
            ]);
        }
        Who::Grace => value["authenticators"] = json!([pin(who, word(5, "5938"), decoy()), token(who)]),
        Who::Omar => {
            value["frozen"] = json!(START - Span::hours(5));
            value["phone_lock"] = json!(true);
            value["contacts"].as_array_mut().unwrap().insert(0, contact(who, 10, "mobile", "+12025550111", START + Span::days(6)));
        }
    }
    serde_json::from_value(value).unwrap()
}

type Index = HashMap<(&'static str, Blind), Vec<AccountId>>;
static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index::new();
    for profile in profiles() {
        for entry in profile.index(&index_key()) {
            index.entry(entry).or_default().push(profile.id);
        }
    }
    index
});

/// The accounts that this claim fits, and whether it is one slip away from another customer's.
pub fn find(kind: ClaimKind, value: &str) -> (Vec<AccountId>, bool) {
    let key = index_key();
    let found = key.exact(kind, value).and_then(|hash| INDEX.get(&(kind.name(), hash))).cloned().unwrap_or_default();
    let near = key.near(kind, value).into_iter().filter_map(|hash| INDEX.get(&("near", hash))).flatten().any(|id| !found.contains(id));
    (found, near)
}

/// Whether what the caller says is what is on file.
pub fn equals(profile: &Profile, field: Field, said: &str) -> bool {
    let kind = match field {
        Field::Upcoming | Field::Orders => ClaimKind::OrderNumber,
        Field::Name => ClaimKind::Name,
        Field::AccountNumber => ClaimKind::AccountNumber,
        Field::Phone => ClaimKind::Number,
        Field::Email => ClaimKind::Email,
        Field::PostalCode => ClaimKind::PostalCode,
        Field::DateOfBirth => ClaimKind::DateOfBirth,
        Field::Address => return profile.field(field).iter().any(|known| known.eq_ignore_ascii_case(said.trim())),
    };
    normalise(kind, said).is_some_and(|said| profile.field(field).iter().any(|known| normalise(kind, known).as_ref() == Some(&said)))
}

/// The clear secret behind a memorised factor, and whether it is the duress one.
pub fn knows(who: Who, kind: FactorKind, presented: &Secret) -> Option<bool> {
    match (who, kind, presented.expose().trim()) {
        (Who::Ana, FactorKind::Pin, DURESS) => Some(true),
        (_, FactorKind::Pin, text) => (who.pin() == Some(text)).then_some(false),
        (Who::Ana, FactorKind::VerbalPassword, text) => text.eq_ignore_ascii_case(VERBAL).then_some(false),
        _ => None,
    }
}

/// Whose voices are taken, and how.
pub fn voices() -> voice::Settings {
    voice::Settings { text: "2026-05".into(), life: Span::days(365), tries: 5, adapters: vec!["test".into()], digits: false }
}

/// A voice on file.
pub fn voice(since: Timestamp) -> voice::OnFile {
    voice::OnFile { since, until: since + voices().life, text: voices().text, lang: Lang::En }
}
