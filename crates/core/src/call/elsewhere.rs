//! What happens beside the caller's own line: approvals in the signed-in portal, codes that travel
//! there, calls that we make, and programs of the company that have the caller on their line.

use super::{
    Alert, Approval, Attempt, Closed, Deny, Effect, Ending, Event, LevelCause, Link, Origin, Rejected, Stage, Turn, ask::Ask,
};
use crate::{
    account::Brief,
    action::{Action, Request, Role},
    claim::{ClaimKind, Via},
    factor::{self, Alphabet, FactorKind, Owner, Transaction, Verdict},
    id::{AccountId, AgentId, AuthenticatorId, ChallengeId, ContactId, MessageId},
    message::{Body, Message, OnFile},
    prompt::{Lang, Prompt},
    risk::Verstat,
    secret::Secret,
    time::Span,
};

/// Entries when a call of ours is answered.
const CONFIRM_TRIES: u32 = 2;

impl Turn<'_, '_> {
    /// A program of the company asks on behalf of a caller whom it has on its own line. What it
    /// names the customer by is a claim like any other: it identifies, and proves nothing.
    pub(super) fn begin_remote(&mut self, client: String, kind: ClaimKind, accounts: &[Brief], factor: FactorKind) {
        self.started("backchannel", Origin::Client(client));
        self.record_claim(kind, Via::Client, accounts, false);
        self.settle(accounts);
        // Who ends a freeze is a person at the desk, after a proof on a call; a token would pass it by.
        let frozen = self.subject.as_ref().is_some_and(|b| b.frozen);
        let asked = !frozen && factor.is_elsewhere() && self.usable_kinds().contains(&factor) && self.challenge(factor, None, Vec::new(), None);
        if !asked {
            self.end(Ending::Unanswered);
        }
    }

    /// A device or program whose holder is not known yet shows a code.
    pub(super) fn begin_device(&mut self, client: String) {
        self.started("device", Origin::Client(client));
        self.link(Alphabet::Letters);
    }

    /// We ring a customer. Only at a number on file that is past its cooling-off time.
    pub(super) fn begin_call_out(
        &mut self, adapter: &str, account: Brief, contact: ContactId, agent: Option<(AgentId, Role)>, matter: Option<Action>,
    ) -> Result<(), Rejected> {
        let (now, id) = (self.now(), account.id);
        if !account.usable(now).any(|f| f.kind == FactorKind::VoiceCode && f.contact == Some(contact)) {
            return Err(Rejected::NoFactor);
        }
        if self.refused(Deny::CallOut) {
            return Err(Rejected::NoTriesLeft);
        }
        let (who, origin) = match agent {
            None => ("portal".to_owned(), Origin::CallBack(contact)),
            Some((agent, role)) => (agent.to_string(), Origin::Desk { agent, role, contact, matter }),
        };
        self.started(adapter, origin);
        let lang = account.language;
        self.identified(id, false, None, Some(account.clone()));
        if !self.may_use(FactorKind::Callback, &account) {
            return Err(Rejected::NotPermitted);
        }
        self.count(format!("ring/{id}/{who}"), Some(Span::hours(1)), self.cx.params.call_backs, Attempt::Failed, Deny::CallOut);
        // Whoever asks, one telephone does not ring all day.
        self.count(format!("ring/{id}"), Some(Span::hours(1)), self.cx.params.call_backs * 3, Attempt::Failed, Deny::CallOut);
        self.ring(id, contact, lang);
        Ok(())
    }

    /// The telephone on file rings.
    pub(super) fn ring(&mut self, account: AccountId, contact: ContactId, lang: Option<Lang>) {
        if let Some(lang) = lang {
            self.emit(Event::LanguageChosen { lang });
        }
        let message = MessageId(self.random.id());
        let body = Body::Ring { call: self.call.id };
        self.out.effects.push(Effect::Send(Message { id: message, to: OnFile { account, contact }, lang: self.call.language(), body }));
        self.emit(Event::Rang { message });
    }

    pub(super) fn started(&mut self, adapter: &str, origin: Origin) {
        self.emit(Event::Started { adapter: adapter.into(), number: None, verstat: Verstat::None, denied: false, origin });
    }

    /// Somebody answered. Who, their next key says.
    pub(super) fn answered(&mut self) -> Result<(), Rejected> {
        if self.call.stage != Stage::Dialing {
            return Err(Rejected::OutOfTurn);
        }
        self.emit(Event::Answered);
        Ok(())
    }

    /// The key that whoever answered pressed. For a call that the customer asked for, only the
    /// portal showed which one it is; a mailbox or somebody else at that telephone does not know it.
    pub(super) fn confirm(&mut self, text: &str) -> Result<(), Rejected> {
        let (Some(account), Some(contact)) = (self.call.principal, self.call.origin.contact()) else { return Err(Rejected::OutOfTurn) };
        if matches!(self.call.origin, Origin::Desk { .. }) {
            // That somebody answers there proves nothing: the agent asks for a proof when one is needed.
            if text == "1" {
                self.say(Prompt::Connecting);
                self.ask_for(Stage::Talking);
            } else {
                self.say(Prompt::Goodbye);
                self.end(Ending::NotReached);
            }
            return Ok(());
        }
        if matches!(self.call.origin, Origin::RingBack { .. }) {
            if text == "1" {
                self.enqueue();
            } else {
                self.say(Prompt::Goodbye);
                self.end(Ending::NotReached);
            }
            return Ok(());
        }
        match factor::check_callback(account, AuthenticatorId(contact.0), self.call.id, text, self.cx.pepper) {
            Verdict::Proven { proof, once } if !self.refused(Deny::Spent) => {
                self.proved(proof, once, None);
                self.say(Prompt::Verified);
                self.choose_music();
            }
            Verdict::Proven { .. } | Verdict::Wrong => {
                let left = u8::try_from(CONFIRM_TRIES.saturating_sub(self.call.failures + 1)).unwrap_or(0);
                self.emit(Event::ChallengeFailed { challenge: ChallengeId(self.call.id.0), left });
                if left == 0 {
                    self.say(Prompt::Goodbye);
                    self.end(Ending::NotReached);
                } else {
                    self.say(Prompt::TryAgain);
                }
            }
        }
        Ok(())
    }

    /// The signed-in customer answered a request for approval. The portal says who they are; that
    /// the request is theirs and still open is checked here.
    pub(super) fn approval(&mut self, account: AccountId, challenge: ChallengeId, reply: Approval) -> Result<(), Rejected> {
        let open = self.call.challenge.clone().filter(|c| c.id == challenge && c.kind.is_portal() && self.call.principal == Some(account));
        let open = open.ok_or(Rejected::NoRequest)?;
        if open.expires <= self.now() {
            self.close_challenge(Closed::Expired);
            return Ok(());
        }
        match reply {
            Approval::Declined => self.close_challenge(Closed::Declined),
            Approval::NotMe => self.disown(account, challenge),
            Approval::Typed(_) if open.kind != FactorKind::Approval => return Err(Rejected::NoFactor),
            Approval::Typed(_) | Approval::Signed(_) if self.refused(Deny::Challenge) => self.close_challenge(Closed::Throttled),
            Approval::Typed(code) => {
                let verdict = factor::check_travel_code(Owner::portal(account), challenge, Alphabet::Known, &code, self.cx.pepper);
                self.verified(verdict)?;
            }
            Approval::Signed(presented) => {
                let transaction = Transaction { call: self.call.id, challenge, account, action: open.action };
                self.out.ask = Some(Ask::Attest { transaction, kind: FactorKind::Passkey, presented });
            }
        }
        Ok(())
    }

    /// "I am not on the phone." Whatever was proved on this call was not proved by the customer:
    /// nothing of it counts, nothing more is asked of them on it, and somebody is told.
    fn disown(&mut self, account: AccountId, challenge: ChallengeId) {
        let key = format!("disowned/{account}/{}", self.origin());
        self.count(key, Some(Span::days(1)), u32::MAX, Attempt::Failed, Deny::Locked(FactorKind::Approval));
        let approving = self.call.stage == Stage::Approving;
        self.emit(Event::ChallengeClosed { challenge, why: Closed::Disowned });
        self.emit(Event::Disowned { account });
        self.emit(Event::LevelChanged { level: self.call.fallen(), expires: None, cause: LevelCause::Disowned, policies: Vec::new() });
        self.out.effects.push(Effect::Alert(Alert::Disowned));
        if approving && self.call.agent.is_some() {
            self.ask_for(Stage::Talking);
        }
    }

    /// The company's sign-in provider answered.
    pub(super) fn provided(&mut self, challenge: ChallengeId, answer: Option<Secret>) -> Result<(), Rejected> {
        let open = self.call.challenge.clone().filter(|c| c.id == challenge && c.kind == FactorKind::Provider).ok_or(Rejected::NoRequest)?;
        let account = self.call.principal.ok_or(Rejected::NoAccount)?;
        match answer {
            _ if self.refused(Deny::Challenge) => self.close_challenge(Closed::Throttled),
            None => self.close_challenge(Closed::Declined),
            Some(presented) => {
                let transaction = Transaction { call: self.call.id, challenge, account, action: open.action };
                self.out.ask = Some(Ask::Attest { transaction, kind: FactorKind::Provider, presented });
            }
        }
        Ok(())
    }

    /// Gives out a code, for whoever types it in the portal: it identifies and proves in one step
    /// (`youtube_hybrid`). `false`: too many were given out to this line lately.
    pub(super) fn link(&mut self, alphabet: Alphabet) -> bool {
        if self.refused(Deny::Claims) {
            return false;
        }
        let (key, max) = (format!("links/{}", self.origin()), self.cx.params.keyed_claims);
        // A program answers for its own callers.
        if self.call.stage != Stage::Remote {
            self.count(key, Some(Span::hours(1)), max, Attempt::Failed, Deny::Claims);
        }
        let link = Link { id: ChallengeId(self.random.id()), alphabet, expires: self.now() + self.cx.params.challenge_life };
        self.out.effects.push(Effect::OpenLink { call: self.call.id, link: link.id, alphabet, expires: link.expires });
        self.emit(Event::LinkOpened { link });
        true
    }

    /// The code that was given out finds nothing any more.
    pub(super) fn close_link(&mut self, why: Closed) {
        if let Some(link) = self.call.link.clone() {
            self.emit(Event::LinkClosed { why });
            self.out.effects.push(Effect::CloseLink { link: link.id, alphabet: link.alphabet });
        }
    }

    /// A signed-in customer typed the code of this call, and confirmed that it is theirs.
    pub(super) fn linked(&mut self, account: Brief, code: &Secret) -> Result<(), Rejected> {
        let link = self.call.link.clone().filter(|l| l.expires > self.now()).ok_or(Rejected::NoRequest)?;
        let fits = (!self.fixed() || self.call.subject == Some(account.id))
            && self.call.delegate.is_none()
            && !self.call.disowned
            && !self.refused(Deny::Spent)
            && !self.refused(Deny::Challenge)
            && self.may_use(FactorKind::Approval, &account);
        let verdict = factor::check_travel_code(Owner::portal(account.id), link.id, link.alphabet, code, self.cx.pepper);
        let Verdict::Proven { proof, once } = verdict else { return Err(Rejected::NoRequest) };
        if !fits {
            return Err(Rejected::NoRequest);
        }
        let window = Some(self.cx.params.throttle_window);
        self.count(format!("typed/{}", account.id), window, self.cx.params.typed_codes, Attempt::Neutral, Deny::Challenge);
        let waits = self.call.stage == Stage::Linking;
        if self.call.subject != Some(account.id) {
            let before = self.call.subject;
            self.identified(account.id, false, before, Some(account.clone()));
        }
        if let (None, Some(lang)) = (self.call.lang, account.language) {
            self.emit(Event::LanguageChosen { lang });
        }
        self.proved(proof, once, Some(link.id));
        if waits {
            self.say(Prompt::Verified);
            self.choose_music();
        }
        Ok(())
    }

    /// Keys while the caller waits for an answer from elsewhere.
    pub(super) fn waiting_keys(&mut self, text: &str) {
        match text {
            "*" | "0" => {
                if self.call.link.is_some() {
                    self.close_link(Closed::CallerLeft);
                    self.choose_music();
                } else if text == "*" {
                    self.close_challenge(Closed::CallerLeft);
                } else if let Some(id) = self.call.challenge.as_ref().map(|c| c.id) {
                    self.emit(Event::ChallengeClosed { challenge: id, why: Closed::CallerLeft });
                    self.choose_music();
                }
            }
            // Everything else: hear it again.
            _ => {}
        }
    }

    /// Whether policy lets this kind be used for this account, once it is identified.
    pub(super) fn may_use(&self, kind: FactorKind, brief: &Brief) -> bool {
        let action = Action::use_factor(kind);
        let mut facts = self.call.facts(Some(brief), &action);
        facts.level = facts.level.max(crate::action::Level::Identified);
        facts.stronger_set_up = brief.usable(self.now()).any(|f| f.kind.strength() > kind.strength());
        self.cx.policy.decide(&Request { actor: self.actor(), action: &action, facts: &facts }).permits()
    }
}
