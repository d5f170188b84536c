//! Takes back what a call that is not to be trusted left in a voice: takes that the template learnt there,
//! and an enrolment. The lead marked it as fraud, or the customer said that it was not them.
//!
//! All of it in the commit that says so. The account's record, which the customer can read, says *suspect*
//! and not who thought so: an attacker who holds the account is not told of a mark. Under a legal hold nothing is destroyed: the voice's time is over
//! instead, so that it is not compared any more and goes when the hold does.

use countersign_core::{
    account::Profile,
    call::{Call, Event},
    id::{AccountId, CallId, ChangeId},
    time::Timestamp,
};
use countersign_store::{Commit, DocWrite, Expect, Note, Stream};
use countersign_voice::Template;

use crate::{
    amend,
    calls::note,
    record::{self, AccountEvent},
    runner::{RunError, Runner},
    voice::{Opened, TEMPLATE, kept},
};

/// What of a voice is not to be trusted.
#[derive(Debug, Clone, Copy)]
pub struct Suspect {
    /// What this call left.
    pub call: Option<CallId>,
    /// What came from then on, on whatever call.
    pub since: Option<Timestamp>,
}

/// What taking back comes to, besides what became of the profile.
#[derive(Debug, Default)]
pub(crate) struct TakenBack {
    pub(crate) events: Vec<AccountEvent>,
    pub(crate) docs: Vec<DocWrite>,
}

impl Runner {
    /// Takes back what is suspect. The commit has to rest on this version of the profile: whoever takes the
    /// voice off it, enrols anew or sets a hold writes another.
    pub(crate) async fn distrust(&self, suspect: &Suspect, profile: &mut Profile) -> Result<TakenBack, RunError> {
        let (account, now) = (profile.id, self.now());
        let mut back = TakenBack::default();
        let Some(voice) = &mut profile.voice else { return Ok(back) };
        let mut enrolled = suspect.since.is_some_and(|since| voice.since >= since);
        if let Some(call) = suspect.call.filter(|_| !enrolled) {
            let events = self.events(call).await?;
            enrolled = events.iter().any(|r| r.at == voice.since && matches!(&r.event, Event::VoiceEnrolled { account: of, held: false, .. } if *of == account));
        }
        let doc = self.store.doc(TEMPLATE, &account.0).await?;
        let opened = match &doc {
            Some(doc) => self.opened(TEMPLATE, &account.0, account, &doc.body).await?,
            None => None,
        };
        // What cannot be read is not compared with either.
        let learnt = opened.as_ref().and_then(|opened| Template::from_bytes(&opened.bytes).ok()).and_then(|mut template| {
            let is = |id: [u8; 16], at: i64| suspect.call.is_some_and(|call| call.0 == id) || suspect.since.is_some_and(|since| at >= since.0);
            template.unlearn(|occasion| is(occasion.id, occasion.at)).then_some(template)
        });
        let put = |doc: &countersign_store::Doc, body: Vec<u8>, due| DocWrite::Put { kind: TEMPLATE, id: account.0.to_vec(), expected: Expect::Version(doc.version), body, due };
        match (learnt, doc) {
            (None, _) if !enrolled => {}
            (_, doc) if self.held(account).await?.is_some() => {
                voice.until = voice.until.min(now);
                back.docs.extend(doc.map(|doc| put(&doc, doc.body.clone(), Some(now.0))));
                back.events.push(AccountEvent::VoiceEnded);
            }
            // The template goes with it: see the directory.
            _ if enrolled => {
                profile.voice = None;
                back.events.push(AccountEvent::VoiceRemoved { why: "suspect".into() });
            }
            (Some(template), Some(doc)) => {
                // Digits are learnt on the call of the enrolment alone: they are as good as that is.
                let (digits, enrolled) = opened.map(|opened| (opened.digits, opened.enrolled)).unwrap_or_default();
                let body = self.seal_about(TEMPLATE, &account.0, account, &kept(account, &Opened { digits, enrolled, ..Opened::only(template.to_bytes()) })).await?;
                back.docs.extend(body.map(|body| put(&doc, body, doc.due)));
                back.events.push(AccountEvent::VoiceUnlearnt { call: suspect.call });
            }
            _ => {}
        }
        Ok(back)
    }

    /// On which call a change was made.
    pub(crate) async fn call_of_change(&self, account: AccountId, change: ChangeId) -> Result<Option<CallId>, RunError> {
        let events = self.store.events(Stream { kind: record::ACCOUNT, id: account.0 }).await?;
        let made = |body: &str| match serde_json::from_str(body) {
            Ok(AccountEvent::Changed { change: made, call, .. }) if made == change => Some(call),
            _ => None,
        };
        Ok(events.iter().find_map(|event| made(&event.body)))
    }
}

/// Adds to the commit that marks a call as fraud what it takes back. Taking the mark back brings nothing
/// back: what was learnt is gone.
pub(crate) async fn write(runner: &Runner, before: &Call, after: &Call, commit: &mut Commit) -> Result<(), RunError> {
    if before.fraud || !after.fraud {
        return Ok(());
    }
    let events = runner.events(after.id).await?;
    let mut accounts: Vec<AccountId> = events.iter().filter_map(|recorded| match &recorded.event {
        Event::VoiceEnrolled { account, held: false, .. } => Some(*account),
        Event::VoiceCompared { account, comparison, .. } if comparison.learnt => Some(*account),
        _ => None,
    }).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let suspect = Suspect { call: Some(after.id), since: None };
    for account in accounts {
        // As it is now: what another node has written since makes the commit fail, and it is tried again.
        runner.directory.forget(account);
        let Some(loaded) = runner.directory.load(account).await? else { continue };
        let (mut profile, now) = (loaded.profile.clone(), runner.now());
        let back = runner.distrust(&suspect, &mut profile).await?;
        if back.events.is_empty() {
            continue;
        }
        commit.appends.extend(amend::entries(account, &mut profile, now, &back.events)?);
        let writes = runner.directory.update(&loaded, &profile)?;
        commit.docs.extend(back.docs.into_iter().chain(writes.docs));
        commit.index.extend(writes.index);
        commit.notes.push(Note { kind: note::ACCOUNT, id: account.0 });
    }
    Ok(())
}
