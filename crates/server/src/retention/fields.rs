//! What time takes from a profile: contacts that were replaced, and single fields, each when its days are
//! over. They count from a moment of the field's own, and where that is not known the field stays.

use std::collections::BTreeMap;

use countersign_core::{
    account::{Access, PORTAL_PERIOD, Profile},
    id::AccountId,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, DocWrite, Expect, Note, Stream};

use super::{AT_ONCE, LEAST, PROGRESS, Progress};
use crate::{
    amend,
    calls::note,
    privacy,
    record::{self, AccountEvent},
    runner::{RunError, Runner},
};

/// A field that time can take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Access,
    Address,
    DateOfBirth,
    Delegations,
    Devices,
    Orders,
    PostalCode,
}

/// What a profile holds besides, and why it stays.
const STAYS: [(&[&str], &str); 6] = [
    (&["account_number", "number", "name"], "says whose account it is: a customer is erased as a whole, by `countersign privacy erase`"),
    (&["contacts", "phone", "mobile", "landline", "email"], "is in use, codes and notices go there: replaced_contacts takes away what was replaced"),
    (
        &["authenticators", "passkeys", "pin", "verbal_password", "totp", "hotp", "backup_codes", "provider"],
        "proves who somebody is, and is all that some can prove with: the customer removes it, signed in or by phone",
    ),
    (&["voice"], "has a time of its own: voice.expires_days"),
    (&["frozen", "phone_lock", "never_sms", "changed"], "protects the customer, for as long as they want it"),
    (&["language", "preferred", "portal"], "is a choice, or a day, that calls depend on"),
];

impl Field {
    const ALL: [Self; 7] = [Self::Access, Self::Address, Self::DateOfBirth, Self::Delegations, Self::Devices, Self::Orders, Self::PostalCode];

    /// As it stands in the configuration and on record.
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Address => "address",
            Self::DateOfBirth => "date_of_birth",
            Self::Delegations => "delegations",
            Self::Devices => "devices",
            Self::Orders => "orders",
            Self::PostalCode => "postal_code",
        }
    }

    fn parse(name: &str) -> Option<Self> { Self::ALL.into_iter().find(|field| field.name() == name) }

    /// Its days count from when the customer was last heard of.
    fn waits(self) -> bool { matches!(self, Self::Access | Self::Address | Self::DateOfBirth | Self::PostalCode) }

    /// It is such a one, and there.
    fn is_waiting(self, profile: &Profile) -> bool {
        match self {
            Self::Access => profile.access != Access::default(),
            Self::Address => !profile.address.is_empty(),
            Self::DateOfBirth => !profile.date_of_birth.is_empty(),
            Self::PostalCode => !profile.postal_code.is_empty(),
            Self::Delegations | Self::Devices | Self::Orders => false,
        }
    }

    /// Takes away what of it is over its time. Whether there was anything.
    fn take(self, profile: &mut Profile, age: Span, moments: &Moments, now: Timestamp) -> bool {
        let over = |moment: Option<Timestamp>| moment.is_some_and(|at| at + age <= now);
        let silent = over(moments.heard);
        let seen = seen(profile);
        match self {
            Self::Access => silent && std::mem::take(&mut profile.access) != Access::default(),
            Self::Address => silent && !std::mem::take(&mut profile.address).is_empty(),
            Self::DateOfBirth => silent && !std::mem::take(&mut profile.date_of_birth).is_empty(),
            Self::PostalCode => silent && !std::mem::take(&mut profile.postal_code).is_empty(),
            // It says something about who may speak as well.
            Self::Delegations => shorten(&mut profile.delegations, |d| over(Some(d.until)) && !moments.held.contains(&d.delegate)),
            Self::Devices => shorten(&mut profile.push, |device| over(Some(device.added).max(seen))),
            Self::Orders => shorten(&mut profile.orders, |order| over(order.due.or(moments.imported))),
        }
    }
}

/// The end of the day on which the customer signed in last: only the day is kept.
fn seen(profile: &Profile) -> Option<Timestamp> { profile.portal.map(|day| day + Span::days(1)) }

/// Whether anything went.
fn shorten<T>(list: &mut Vec<T>, gone: impl Fn(&T) -> bool) -> bool {
    let before = list.len();
    list.retain(|one| !gone(one));
    list.len() < before
}

/// From when days count, as far as the profile itself does not say it.
#[derive(Debug, Default)]
struct Moments {
    /// The customer was last heard of: a call about them, a sign-in, a change, the import.
    heard: Option<Timestamp>,
    /// They came from a file.
    imported: Option<Timestamp>,
    /// Who may not lose anything, of those that may speak for them.
    held: Vec<AccountId>,
}

/// Takes away what is over its time. Which fields lost something.
fn take(profile: &mut Profile, rules: &[(Field, Span)], moments: &Moments, now: Timestamp) -> Vec<String> {
    rules.iter().filter(|(field, age)| field.take(profile, *age, moments, now)).map(|(field, _)| field.name().to_owned()).collect()
}

/// Why a setting of `[retention.fields]` cannot be meant. `calls`: how long calls are kept.
pub(super) fn fault(name: &str, days: u32, calls: Option<u32>) -> Option<String> {
    let Some(field) = Field::parse(name) else {
        let why = STAYS.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| (*why).to_owned());
        let why = why.unwrap_or_else(|| format!("there is no such field; those that time can take away are {}", Field::ALL.map(Field::name).join(", ")));
        return Some(format!("fields.{name}: {why}"));
    };
    if days < LEAST {
        return Some(format!("fields.{name} = {days}: it takes nothing away so"));
    }
    if field == Field::Devices && Span::days(i64::from(days)) < PORTAL_PERIOD {
        return Some(format!("fields.{name}: below 90 days: whoever signed in within that time is still asked to approve there, and has to be woken"));
    }
    match calls {
        Some(calls) if field.waits() && calls < days => {
            Some(format!("fields.{name} = {days}: longer than calls = {calls}: once a call is taken away nobody knows any more that the customer was heard of"))
        }
        _ => None,
    }
}

/// The settings that can be meant. What cannot takes nothing away.
pub(super) fn rules(fields: &BTreeMap<String, u32>, calls: Option<u32>) -> Vec<(Field, Span)> {
    let meant = fields.iter().filter(|(name, days)| fault(name, **days, calls).is_none());
    meant.filter_map(|(name, days)| Some((Field::parse(name)?, Span::days(i64::from(*days))))).collect()
}

impl Runner {
    /// A round over all profiles, a page in each go. Returns how many lost something.
    pub(super) async fn old_profiles(&self, contacts: Option<Span>, fields: &[(Field, Span)]) -> Result<usize, RunError> {
        const NAME: &str = "profiles";
        let place = self.store.doc(PROGRESS, NAME.as_bytes()).await?.map(|doc| doc.body);
        let page = self.store.docs(record::ACCOUNT, place, AT_ONCE).await?;
        let mut n = 0;
        for (id, _) in &page {
            let Ok(account) = <[u8; 16]>::try_from(id.as_slice()).map(AccountId) else { continue };
            n += usize::from(self.old_profile(account, contacts, fields).await?);
        }
        // After the last the round begins anew, in a minute.
        let doc = match page.last() {
            Some((last, _)) if page.len() == AT_ONCE => DocWrite::Put { kind: PROGRESS, id: NAME.into(), expected: Expect::Any, body: last.clone(), due: None },
            _ => DocWrite::Delete { kind: PROGRESS, id: NAME.into() },
        };
        self.retained(Commit { now: self.now().0, docs: vec![doc], ..Commit::default() }).await?;
        Ok(n)
    }

    async fn old_profile(&self, account: AccountId, contacts: Option<Span>, fields: &[(Field, Span)]) -> Result<bool, RunError> {
        self.directory.forget(account);
        let Some(loaded) = self.directory.load(account).await? else { return Ok(false) };
        let (mut after, now) = (loaded.profile.clone(), self.now());
        let mut events = Vec::new();
        if contacts.is_some_and(|age| shorten(&mut after.contacts, |c| c.retired.is_some_and(|at| at + age <= now))) {
            events.push(AccountEvent::ContactsForgotten);
        }
        let moments = self.moments(&after, fields, now).await?;
        let gone = take(&mut after, fields, &moments, now);
        if !gone.is_empty() {
            events.push(AccountEvent::FieldsForgotten { fields: gone });
        }
        // A hold that comes after this look changes the version that the commit asks for.
        if events.is_empty() || self.held(account).await?.is_some() {
            return Ok(false);
        }
        let appends = amend::entries(account, &mut after, now, &events)?.into_iter().collect();
        let writes = self.directory.update(&loaded, &after)?;
        let notes = vec![Note { kind: note::ACCOUNT, id: account.0 }];
        let done = self.retained(Commit { now: now.0, appends, docs: writes.docs, index: writes.index, notes, ..Commit::default() }).await?;
        self.directory.forget(account);
        Ok(done)
    }

    /// Reads no more than these rules hang on: most customers were heard of lately, and the profile says it.
    async fn moments(&self, profile: &Profile, rules: &[(Field, Span)], now: Timestamp) -> Result<Moments, RunError> {
        let mut moments = Moments { heard: seen(profile).max(profile.changed), ..Moments::default() };
        for (_, age) in rules.iter().filter(|(field, _)| *field == Field::Delegations) {
            for ended in profile.delegations.iter().filter(|d| d.until + *age <= now) {
                if self.held(ended.delegate).await?.is_some() {
                    moments.held.push(ended.delegate);
                }
            }
        }
        // Whoever was heard of after this loses nothing that waits for silence.
        let since = rules.iter().filter(|(field, _)| field.is_waiting(profile)).map(|(_, age)| now - *age).max();
        let is_silent = |heard: Option<Timestamp>| since.is_some_and(|since| heard.is_none_or(|at| at <= since));
        let undated = rules.iter().any(|(field, _)| *field == Field::Orders) && profile.orders.iter().any(|order| order.due.is_none());
        if undated || is_silent(moments.heard) {
            let record = self.store.events(Stream { kind: record::ACCOUNT, id: profile.id.0 }).await?;
            let first = record.first().filter(|event| matches!(serde_json::from_str::<AccountEvent>(&event.body), Ok(AccountEvent::Imported)));
            moments.imported = first.map(|event| Timestamp(event.at));
            let last = record.iter().rev().find(|event| !is_ours(&event.body));
            moments.heard = moments.heard.max(last.map(|event| Timestamp(event.at)));
        }
        if is_silent(moments.heard) {
            // Of calls that were taken away nobody knows whom they were about: silence counts from there on at most.
            if let Some(doc) = self.store.doc(PROGRESS, b"calls").await? {
                let progress: Progress = serde_json::from_slice(&doc.body)?;
                moments.heard = moments.heard.map(|at| at.max(Timestamp(progress.done)));
            }
        }
        if is_silent(moments.heard) {
            for call in self.store.find("calls", profile.id.0, privacy::CALLS).await? {
                let events = self.store.events(Stream { kind: record::CALL, id: call }).await?;
                moments.heard = moments.heard.max(events.last().map(|event| Timestamp(event.at)));
                if !is_silent(moments.heard) {
                    break;
                }
            }
        }
        Ok(moments)
    }
}

/// An event of the account that nobody needs the customer for. What a newer release wrote may be theirs.
fn is_ours(body: &str) -> bool {
    matches!(
        serde_json::from_str::<AccountEvent>(body),
        Ok(AccountEvent::Held | AccountEvent::Released | AccountEvent::Exported | AccountEvent::PushRemoved | AccountEvent::ContactsForgotten
            | AccountEvent::FieldsForgotten { .. } | AccountEvent::VoiceRemoved { .. } | AccountEvent::VoiceEnded | AccountEvent::VoiceUnlearnt { .. })
    )
}

#[cfg(test)]
mod tests {
    use countersign_core::{
        account::{Delegation, Order, PushSubscription},
        id::DelegationId,
        secret::Secret,
    };
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_780_308_000_000);

    fn ago(days: i64) -> Timestamp { NOW - Span::days(days) }

    fn profile() -> Profile {
        Profile {
            id: AccountId([1; 16]), number: "10004711".into(), name: "Ana Torres".into(), date_of_birth: "1984-03-09".into(), address: "12 Juniper Lane".into(), postal_code: "20500".into(),
            language: None, contacts: Vec::new(), orders: Vec::new(), authenticators: Vec::new(), delegations: Vec::new(), preferred: None, frozen: None, phone_lock: true, never_sms: true,
            access: Access { relay: true, ..Access::default() }, portal: None, push: Vec::new(), voice: None, changed: None, events: 7,
        }
    }

    fn order(due: Option<Timestamp>) -> Order { Order { number: "7".into(), what: "Lamp".into(), status: "open".into(), due } }

    fn device(added: Timestamp) -> PushSubscription { PushSubscription { endpoint: Secret::default(), p256dh: Secret::default(), auth: Secret::default(), added } }

    fn delegation(delegate: u8, until: Timestamp) -> Delegation {
        Delegation { id: DelegationId([delegate; 16]), delegate: AccountId([delegate; 16]), kind: "guardian".into(), actions: Vec::new(), until }
    }

    #[test]
    fn every_field_has_a_name_that_leads_back() {
        for field in Field::ALL {
            assert_eq!(Field::parse(field.name()), Some(field));
            assert!(!STAYS.iter().any(|(names, _)| names.contains(&field.name())));
        }
        assert_eq!(Field::parse("name"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_told_and_takes_nothing() {
        let told = |name: &str, days, calls| fault(name, days, calls).unwrap_or_default();
        assert_eq!(told("address", 400, None), "");
        assert_eq!(told("address", 400, Some(400)), "");
        assert!(told("adress", 400, None).contains("access, address, date_of_birth, delegations, devices, orders, postal_code"));
        for (name, why) in [("email", "replaced_contacts"), ("pin", "proves"), ("name", "erase"), ("voice", "voice.expires_days"), ("phone_lock", "protects"), ("language", "choice")] {
            assert!(told(name, 400, None).contains(why), "{name}");
        }
        assert!(told("devices", 89, None).contains("90 days") && told("devices", 90, Some(1)).is_empty());
        assert!(told("date_of_birth", 401, Some(400)).contains("longer than calls"));
        assert_eq!(told("orders", 401, Some(400)), "", "an order has a day of its own");
        let all = BTreeMap::from(["address", "email", "devices", "nothing"].map(|name| (name.to_owned(), 30)));
        assert_eq!(rules(&all, None), [(Field::Address, Span::days(30))]);
    }

    /// Nothing is known of when: nothing goes, however short the time.
    #[test]
    fn where_no_moment_is_known_the_field_stays() {
        let mut shown = profile();
        shown.orders = vec![order(None)];
        let rules = Field::ALL.map(|field| (field, Span::days(1)));
        assert!(take(&mut shown, &rules, &Moments::default(), NOW).is_empty());
        assert!(!shown.address.is_empty() && shown.orders.len() == 1);
    }

    #[test]
    fn a_permission_to_speak_stays_while_whoever_may_is_held() {
        let mut shown = profile();
        shown.delegations = vec![delegation(2, ago(50)), delegation(3, ago(50))];
        let moments = Moments { held: vec![AccountId([3; 16])], ..Moments::default() };
        assert_eq!(take(&mut shown, &[(Field::Delegations, Span::days(10))], &moments, NOW), ["delegations"]);
        assert_eq!(shown.delegations.iter().map(|d| d.delegate).collect::<Vec<_>>(), [AccountId([3; 16])]);
    }

    fn day() -> impl Strategy<Value = Option<Timestamp>> { proptest::option::of((-30i64..800).prop_map(ago)) }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What is over goes, what is not over stays, and nothing else is touched.
        #[test]
        fn a_rule_takes_what_is_over_and_nothing_else(
            ages in proptest::collection::vec(proptest::option::of(1i64..700), 7), heard in day(), imported in day(), portal in day(),
            dues in proptest::collection::vec(day(), 0..5), untils in proptest::collection::vec(day(), 0..5), devices in proptest::collection::vec(day(), 0..5),
        ) {
            let mut before = profile();
            before.portal = portal;
            before.orders = dues.into_iter().map(order).collect();
            before.delegations = untils.into_iter().flatten().map(|until| delegation(2, until)).collect();
            before.push = devices.into_iter().flatten().map(device).collect();
            let rules: Vec<(Field, Span)> = Field::ALL.into_iter().zip(ages).filter_map(|(field, days)| Some((field, Span::days(days?)))).collect();
            let age = |field: Field| rules.iter().find(|(known, _)| *known == field).map(|(_, age)| *age);
            let over = |field: Field, at: Option<Timestamp>| age(field).is_some_and(|age| at.is_some_and(|at| at + age <= NOW));
            let moments = Moments { heard, imported, held: Vec::new() };
            let mut after = before.clone();
            let gone = take(&mut after, &rules, &moments, NOW);

            prop_assert_eq!(after.access == Access::default(), over(Field::Access, heard));
            prop_assert_eq!(after.address.is_empty(), over(Field::Address, heard));
            prop_assert_eq!(after.date_of_birth.is_empty(), over(Field::DateOfBirth, heard));
            prop_assert_eq!(after.postal_code.is_empty(), over(Field::PostalCode, heard));
            let mut wanted = before.clone();
            wanted.orders.retain(|o| !over(Field::Orders, o.due.or(imported)));
            wanted.delegations.retain(|d| !over(Field::Delegations, Some(d.until)));
            wanted.push.retain(|d| !over(Field::Devices, Some(d.added)) || portal.is_some_and(|_| !over(Field::Devices, seen(&before))));
            prop_assert_eq!((after.orders.len(), after.delegations.len(), after.push.len()), (wanted.orders.len(), wanted.delegations.len(), wanted.push.len()));

            // What stands on record is what differs, each once.
            let value = |profile: &Profile| serde_json::to_value(profile).unwrap();
            let (old, new) = (value(&before), value(&after));
            let mut differs: Vec<String> = old.as_object().unwrap().keys().filter(|key| old[*key] != new[*key]).map(|key| if key == "push" { "devices".into() } else { key.clone() }).collect();
            differs.sort_unstable();
            let mut told = gone.clone();
            told.sort_unstable();
            prop_assert_eq!(told, differs);
            prop_assert!(take(&mut after, &rules, &moments, NOW).is_empty(), "once");
        }
    }
}
