//! A customer as the directory keeps them ([`Profile`], clear data, sealed at rest) and as the call
//! machine may know them ([`Brief`], nothing that identifies).

use serde::{Deserialize, Serialize};

use crate::{
    action::{Action, Field},
    claim::{ClaimKind, IndexKey},
    factor::{BackupCodes, FactorKind, Otp, Owner, WordHash},
    id::{AccountId, AuthenticatorId, ContactId, DelegationId},
    prompt::Lang,
    secret::{Blind, Secret},
    time::{Span, Timestamp},
    voice,
};

/// What a contact point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    /// A telephone that takes texts.
    Mobile,
    /// A telephone that does not.
    Landline,
    /// An e-mail address.
    Email,
}

/// A number or address on file. Retired ones stay for notices until [`NOTICE_PERIOD`] has passed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contact {
    /// Which one.
    pub id: ContactId,
    /// What it is.
    pub kind: ContactKind,
    /// The number in E.164 form, or the address.
    pub value: Secret,
    /// Codes are sent to it only from then on: the cooling-off time after it was added.
    pub usable_from: Timestamp,
    /// Whoever has it answered a text with STOP: it gets no texts, and calls where they must be.
    #[serde(default)]
    pub no_texts: bool,
    /// When it was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Timestamp>,
}

/// How old an authenticator must be at the time of a freeze to count while it lasts.
pub const SUSPECT: Span = Span::days(7);
/// How long a replaced contact point still gets notices.
pub const NOTICE_PERIOD: Span = Span::days(90);
/// How long after the last sign-in to the portal a customer can still be asked to approve there.
pub const PORTAL_PERIOD: Span = Span::days(90);

/// The secret side of an authenticator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Material {
    /// An app or token.
    Otp(Otp),
    /// A memorised secret, with the duress word beside it.
    Word {
        /// The hash of the real one.
        real: WordHash,
        /// The hash of the one that means "I am being forced"; a decoy if none is set.
        duress: WordHash,
    },
    /// A passkey.
    Passkey {
        /// What the customer calls it.
        name: Secret,
        /// The public key and what belongs to it, in the words of whoever verifies signatures.
        credential: Secret,
        /// Since when.
        added: Timestamp,
    },
    /// A printed list of codes.
    Codes {
        /// Their hashes.
        codes: BackupCodes,
        /// Since when.
        added: Timestamp,
    },
    /// An account at the company's own sign-in provider.
    Provider {
        /// Which provider: a name is unique only within one (OpenID Connect Core §5.7).
        #[serde(default)]
        issuer: String,
        /// The provider's name for the customer (`sub`).
        subject: Secret,
        /// Whether the provider can be asked during a call. If not, it only signs in.
        #[serde(default)]
        asks: bool,
    },
}

/// A browser that the customer let us wake (RFC 8030).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushSubscription {
    /// Where its push service takes messages.
    pub endpoint: Secret,
    /// Its public key, base64url (RFC 8291 §3.1).
    pub p256dh: Secret,
    /// Its shared secret, base64url (RFC 8291 §3.2).
    pub auth: Secret,
    /// Since when.
    pub added: Timestamp,
}

/// What makes a call easier for this customer. Told to whoever talks with them; it decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Access {
    /// Calls come through a relay service: an operator speaks or types for the customer, and that
    /// is no reason for suspicion.
    #[serde(default)]
    pub relay: bool,
    /// The customer uses real-time text or a TTY.
    #[serde(default)]
    pub text: bool,
    /// The customer needs longer to key and to answer.
    #[serde(default)]
    pub unhurried: bool,
}

/// Something bound to an account that proves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authenticator {
    /// Which one.
    pub id: AuthenticatorId,
    /// What kind.
    pub kind: FactorKind,
    /// Its secret.
    pub material: Material,
    /// Since when it is on file. Zero: always was.
    #[serde(default)]
    pub added: Timestamp,
    /// From when on it counts on a call and confirms changes. Later than `added` where nothing that
    /// was on file before vouched for it: a thief of a web sign-in waits, the notices do not.
    #[serde(default)]
    pub usable_from: Timestamp,
}

/// One order, as much of it as a call needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub number: Secret,
    /// What it is, in the words of the shop.
    pub what: Secret,
    /// `open`, `shipped`, `delivered`, `cancelled`.
    pub status: String,
    /// The day it is due, if it is under way: the only part that may be spoken to a recognised number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// A permission to speak for this account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delegation {
    /// Which one.
    pub id: DelegationId,
    /// Who may speak: a customer with authenticators of their own.
    pub delegate: AccountId,
    /// `guardian`, `assistant` or `power_of_attorney`.
    pub kind: String,
    /// For which actions.
    pub actions: Vec<Action>,
    /// Until when.
    pub until: Timestamp,
}

/// Everything on file about a customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Profile {
    /// Which account.
    pub id: AccountId,
    /// The company's own number for it.
    pub number: Secret,
    /// First and last name.
    pub name: Secret,
    /// `YYYY-MM-DD`.
    #[serde(default)]
    pub date_of_birth: Secret,
    /// Street and town.
    #[serde(default)]
    pub address: Secret,
    /// Postal code.
    #[serde(default)]
    pub postal_code: Secret,
    /// The language the customer chose.
    #[serde(default)]
    pub language: Option<Lang>,
    /// Numbers and addresses, present and retired.
    #[serde(default)]
    pub contacts: Vec<Contact>,
    /// Orders.
    #[serde(default)]
    pub orders: Vec<Order>,
    /// Authenticators, without the contact points (each telephone on file is one as well).
    #[serde(default)]
    pub authenticators: Vec<Authenticator>,
    /// Who may speak for this account.
    #[serde(default)]
    pub delegations: Vec<Delegation>,
    /// The factor the customer wants to be asked for first.
    #[serde(default)]
    pub preferred: Option<FactorKind>,
    /// Since when the account is frozen.
    #[serde(default)]
    pub frozen: Option<Timestamp>,
    /// The customer locked the phone channel for changes.
    #[serde(default)]
    pub phone_lock: bool,
    /// The customer wants no codes by text.
    #[serde(default)]
    pub never_sms: bool,
    /// What makes a call easier.
    #[serde(default)]
    pub access: Access,
    /// When the customer last signed in to the portal, to the day: only somebody who does can be
    /// asked to approve there.
    #[serde(default)]
    pub portal: Option<Timestamp>,
    /// Browsers that the customer let us wake.
    #[serde(default)]
    pub push: Vec<PushSubscription>,
    /// The voice on file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<voice::OnFile>,
    /// When contact data or factors changed last.
    #[serde(default)]
    pub changed: Option<Timestamp>,
    /// How many events the account's own record has.
    #[serde(default)]
    pub events: u64,
}

impl Profile {
    /// Contact points that are not retired.
    pub fn present_contacts(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.iter().filter(|c| c.retired.is_none())
    }

    /// All the hashes under which this account is found: exact ones, then near ones.
    pub fn index(&self, key: &IndexKey) -> Vec<(&'static str, Blind)> {
        let mut values: Vec<(ClaimKind, &str)> = vec![
            (ClaimKind::AccountNumber, self.number.expose()),
            (ClaimKind::Name, self.name.expose()),
            (ClaimKind::DateOfBirth, self.date_of_birth.expose()),
            (ClaimKind::PostalCode, self.postal_code.expose()),
        ];
        for contact in self.present_contacts() {
            values.push(match contact.kind {
                ContactKind::Email => (ClaimKind::Email, contact.value.expose()),
                ContactKind::Mobile | ContactKind::Landline => (ClaimKind::Number, contact.value.expose()),
            });
        }
        values.extend(self.orders.iter().map(|o| (ClaimKind::OrderNumber, o.number.expose())));
        let mut out: Vec<(&'static str, Blind)> = Vec::new();
        for (kind, value) in values {
            out.extend(key.exact(kind, value).map(|hash| (kind.name(), hash)));
            out.extend(key.near(kind, value).into_iter().map(|hash| ("near", hash)));
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The clear text of a field, the parts in the order in which they are on file.
    pub fn field(&self, field: Field) -> Vec<&str> {
        let contacts = |phone: bool| {
            self.present_contacts().filter(move |c| (c.kind == ContactKind::Email) != phone).map(|c| c.value.expose()).collect()
        };
        match field {
            Field::Upcoming | Field::Orders => self.orders.iter().map(|o| o.number.expose()).collect(),
            Field::Name => non_empty(&self.name),
            Field::AccountNumber => non_empty(&self.number),
            Field::Phone => contacts(true),
            Field::Email => contacts(false),
            Field::Address => non_empty(&self.address),
            Field::PostalCode => non_empty(&self.postal_code),
            Field::DateOfBirth => non_empty(&self.date_of_birth),
        }
    }

    /// What the call machine may know.
    pub fn brief(&self, now: Timestamp) -> Brief {
        let bound = |authenticator, kind, usable_from| Factor { authenticator, kind, contact: None, tail: String::new(), usable_from };
        // Whichever of several passkeys is at hand may sign: they are one factor, the portal's.
        let portal = Owner::portal(self.id).authenticator;
        let mut factors: Vec<Factor> = self.standing()
            .filter(|a| a.kind != FactorKind::Passkey && !matches!(a.material, Material::Provider { asks: false, .. })).map(|a| bound(a.id, a.kind, a.usable_from)).collect();
        let passkeys = self.standing().filter(|a| a.kind == FactorKind::Passkey).map(|a| a.usable_from).min();
        if let Some(usable_from) = passkeys {
            factors.push(bound(portal, FactorKind::Passkey, usable_from));
        }
        if passkeys.is_some() || !self.push.is_empty() || self.portal.is_some_and(|at| now - at < PORTAL_PERIOD) {
            factors.push(bound(portal, FactorKind::Approval, Timestamp(0)));
        }
        for c in self.present_contacts() {
            let kinds: &[FactorKind] = match c.kind {
                ContactKind::Mobile if self.never_sms || c.no_texts => &[FactorKind::VoiceCode],
                ContactKind::Mobile => &[FactorKind::SmsCode, FactorKind::VoiceCode],
                ContactKind::Landline => &[FactorKind::VoiceCode],
                ContactKind::Email => &[],
            };
            let value = c.value.expose();
            let tail = value.get(value.len().saturating_sub(2)..).unwrap_or("").to_owned();
            factors.extend(kinds.iter().map(|kind| Factor {
                authenticator: AuthenticatorId(c.id.0), kind: *kind, contact: Some(c.id), tail: tail.clone(), usable_from: c.usable_from,
            }));
        }
        let rank = |f: &Factor| (self.preferred != Some(f.kind) || self.strongest_bound() > f.kind.strength(), std::cmp::Reverse(f.kind.strength()), f.kind);
        factors.sort_by_key(rank);
        Brief {
            id: self.id,
            language: self.language,
            factors,
            notices: self.notice_contacts(now),
            frozen: self.frozen.is_some(),
            phone_lock: self.phone_lock,
            reachable: !self.push.is_empty(),
            access: self.access,
            changed: self.changed,
            voice: self.voice.as_ref().filter(|v| v.until > now).map(|v| v.lang),
            upcoming: self.orders.iter().filter(|o| o.status != "delivered").filter_map(|o| o.due).filter(|due| *due > now).min(),
            delegations: self.delegations.iter().filter(|d| d.until > now).map(|d| DelegationBrief {
                id: d.id, subject: self.id, delegate: d.delegate, kind: d.kind.clone(), actions: d.actions.clone(), until: d.until,
            }).collect(),
        }
    }

    /// The authenticators that count. On a frozen account none that came on file within
    /// [`SUSPECT`] before the freeze, or after it: somebody reports a thief, and what the thief set
    /// up must not be what ends the freeze.
    pub fn standing(&self) -> impl Iterator<Item = &Authenticator> {
        self.authenticators.iter().filter(|a| self.frozen.is_none_or(|at| a.added + SUSPECT < at))
    }

    /// With what the customer, signed in, confirms that it is them before anything about their
    /// authenticators changes: a passkey, where one counts; otherwise one of what they know or
    /// have; empty where nothing counts yet.
    pub fn step_up(&self, now: Timestamp) -> Vec<FactorKind> {
        const KINDS: [FactorKind; 6] =
            [FactorKind::Passkey, FactorKind::Totp, FactorKind::Hotp, FactorKind::Pin, FactorKind::VerbalPassword, FactorKind::BackupCode];
        let mut kinds: Vec<FactorKind> = KINDS.into_iter().filter(|kind| self.standing().any(|a| a.kind == *kind && a.usable_from <= now)).collect();
        if kinds.first() == Some(&FactorKind::Passkey) {
            kinds.truncate(1);
        }
        kinds
    }

    fn strongest_bound(&self) -> u8 { self.standing().map(|a| a.kind.strength()).max().unwrap_or(0) }

    /// Where notices go: e-mail first, then telephones that take texts; what is on file and past
    /// its cooling-off time before what was replaced within [`NOTICE_PERIOD`]. A landline is rung
    /// only where there is nothing else.
    fn notice_contacts(&self, now: Timestamp) -> Vec<Notified> {
        let mut out: Vec<Notified> = self
            .contacts
            .iter()
            .filter(|c| c.retired.map_or(c.usable_from <= now, |at| now < at + NOTICE_PERIOD))
            .map(|c| Notified { contact: c.id, kind: if c.no_texts { ContactKind::Landline } else { c.kind }, former: c.retired.is_some() })
            .collect();
        if out.iter().any(|n| n.kind != ContactKind::Landline) {
            out.retain(|n| n.kind != ContactKind::Landline);
        }
        out.sort_by_key(|n| (n.former, n.kind != ContactKind::Email));
        out
    }
}

fn non_empty(secret: &Secret) -> Vec<&str> {
    if secret.is_empty() { Vec::new() } else { vec![secret.expose()] }
}

/// One way in which this customer could prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Which authenticator.
    pub authenticator: AuthenticatorId,
    /// What kind.
    pub kind: FactorKind,
    /// The contact point, for codes that are sent.
    pub contact: Option<ContactId>,
    /// The last two digits of that contact point, which its owner recognises.
    pub tail: String,
    /// Cooling-off: not before.
    pub usable_from: Timestamp,
}

/// A delegation as the machine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationBrief {
    /// Which one.
    pub id: DelegationId,
    /// Whose account it opens.
    pub subject: AccountId,
    /// Who may speak.
    pub delegate: AccountId,
    /// What kind.
    pub kind: String,
    /// For which actions.
    pub actions: Vec<Action>,
    /// Until when.
    pub until: Timestamp,
}

/// A contact point that gets notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notified {
    /// Which.
    pub contact: ContactId,
    /// What it is.
    pub kind: ContactKind,
    /// It was replaced lately. Whoever was there before hears of what happens for a while, because
    /// the replacement may be the theft.
    pub former: bool,
}

/// What the call machine may know about an account. Holds no value that identifies a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// Which account.
    pub id: AccountId,
    /// The language the customer chose.
    pub language: Option<Lang>,
    /// Ways to prove: the customer's preference first, then the strongest. A preference never
    /// comes before a stronger authenticator that is set up.
    pub factors: Vec<Factor>,
    /// Where notices go, best first.
    pub notices: Vec<Notified>,
    /// The account is frozen.
    pub frozen: bool,
    /// The phone channel is locked for changes.
    pub phone_lock: bool,
    /// A device of the customer can be woken, so that the machine may ask for an approval by itself.
    pub reachable: bool,
    /// What makes a call easier.
    pub access: Access,
    /// A voice is on file, with consent, and its time is not over: in which language the phrase is.
    pub voice: Option<Lang>,
    /// When contact data or factors changed last.
    pub changed: Option<Timestamp>,
    /// The day the next delivery is due: the only fact that may be hinted at to a recognised number.
    pub upcoming: Option<Timestamp>,
    /// Who may speak for this account.
    pub delegations: Vec<DelegationBrief>,
}

impl Brief {
    /// The factors that are past their cooling-off time.
    pub fn usable(&self, now: Timestamp) -> impl Iterator<Item = &Factor> {
        self.factors.iter().filter(move |f| f.usable_from <= now)
    }
}
