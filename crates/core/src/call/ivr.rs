//! The caller alone with the machine: greeting, language, recognition, claims by keypad, hold music.

use super::{
    Attempt, Closed, Deny, Ending, Event, Origin, Purpose, Rejected, Stage, Turn,
    ask::Ask,
    input::Keys,
};
use crate::{
    account::Brief,
    action::Level,
    claim::{Claim, ClaimKind, Via},
    factor::{Alphabet, FactorKind, Proof, Verdict},
    identify::{ClaimRecord, MAX_MATCHES},
    prompt::{Lang, Music, Prompt},
    risk::Verstat,
    secret::{Blind, Secret},
    time::Span,
    voice::Stopped,
};

/// How often in a row nothing may be keyed before the machine goes on by itself.
const MAX_SILENCES: u8 = 2;

impl Turn<'_, '_> {
    pub(super) fn begin(&mut self, adapter: String, number: Option<Blind>, verstat: Verstat, denied: bool, accounts: Vec<Brief>, dialled: bool) {
        self.emit(Event::Started { adapter, number, verstat, denied, origin: Origin::Caller });
        if number.is_some() {
            self.record_claim(ClaimKind::Number, Via::Network, &accounts, false);
            self.settle(&accounts);
        }
        self.rescore();
        // What other calls say comes first: it decides what may be said at all.
        match self.wants_history(true, None) {
            Some(Ask::History { number, account, started, .. }) => self.out.ask = Some(Ask::History { number, account, started, dialled }),
            _ => self.pick_up(dialled),
        }
    }

    /// The first words of a call.
    pub(super) fn pick_up(&mut self, dialled: bool) {
        self.rescore();
        if self.call.stage == Stage::Ended {
            return;
        }
        self.say(Prompt::Welcome);
        if dialled { self.ask_for(Stage::KeyingToken) } else { self.welcome() }
    }

    /// The first question of a call.
    fn welcome(&mut self) {
        match self.subject.as_ref().and_then(|b| b.language) {
            Some(lang) => {
                self.emit(Event::LanguageChosen { lang });
                self.greet();
            }
            None => self.ask_for(Stage::Language),
        }
    }

    /// After the language is settled: say what we know, or ask.
    fn greet(&mut self) {
        if self.call.level >= Level::Authenticated {
            self.choose_music();
        } else if self.call.subject.is_none() {
            self.ask_for(Stage::Menu);
        } else if self.upcoming().is_some() && !self.call.intent {
            self.ask_for(Stage::Recognised);
        } else {
            self.say(Prompt::Recognised { upcoming: None });
            self.authenticate();
        }
    }

    pub(super) fn keys(&mut self, keys: &Keys) -> Result<(), Rejected> {
        let text = keys.expose().trim_end_matches('#').to_owned();
        let spoken = self.call.challenge.as_ref().is_some_and(|c| c.spoken);
        if text.is_empty() && !(spoken && self.call.stage == Stage::Proving && !keys.is_empty()) {
            self.no_keys();
            return Ok(());
        }
        let star = text == "*";
        match self.call.stage {
            Stage::Language => self.language(&text),
            Stage::Recognised | Stage::Menu if star => self.ask_for(Stage::Language),
            Stage::Recognised => {
                match text.as_str() {
                    "1" => self.emit(Event::IntentConfirmed),
                    "0" => return self.wants_agent(),
                    "2" => {}
                    _ => {
                        self.no_keys();
                        return Ok(());
                    }
                }
                self.authenticate();
            }
            Stage::Menu => match text.as_str() {
                "1" => self.ask_for(Stage::KeyingServiceCode),
                "2" => self.ask_for(Stage::KeyingAccountNumber),
                "3" => {
                    if !self.link(Alphabet::Spoken) {
                        self.ask_for(Stage::KeyingAccountNumber);
                    }
                }
                "0" => return self.wants_agent(),
                _ => self.no_keys(),
            },
            Stage::KeyingAccountNumber | Stage::KeyingPostalCode | Stage::KeyingServiceCode if text == "0" || star => return self.wants_agent(),
            Stage::KeyingAccountNumber => self.keyed_claim(ClaimKind::AccountNumber, text),
            Stage::KeyingPostalCode => self.keyed_claim(ClaimKind::PostalCode, text),
            Stage::KeyingServiceCode if self.refused(Deny::ServiceCode) => {
                self.emit(Event::ServiceCodeThrottled);
                self.say(Prompt::NoMoreTries);
                self.after_service_code();
            }
            // A token that cannot be looked at is no token: the call goes on as any other.
            Stage::KeyingToken if self.refused(Deny::ServiceCode) => self.welcome(),
            Stage::KeyingServiceCode | Stage::KeyingToken => self.out.ask = Some(Ask::Redeem { code: Secret::new(text) }),
            Stage::Proving => return self.prove_keys(&text),
            Stage::Approving | Stage::Linking => self.waiting_keys(&text),
            Stage::VoiceConsent | Stage::VoiceTaking | Stage::VoiceSaying | Stage::VoiceDigits => self.voice_keys(&text),
            Stage::Confirming => return self.confirm(&text),
            Stage::Music => {
                let music = choice(&text, &Music::ALL).unwrap_or_default();
                self.emit(Event::MusicChosen { music });
                self.enqueue();
            }
            Stage::Waiting => {
                if let Some(music) = choice(&text, &Music::ALL) {
                    self.emit(Event::MusicChosen { music });
                }
            }
            // Keys while talking to an agent mean nothing to us and are not kept.
            Stage::Talking | Stage::Ringing | Stage::Ended | Stage::Dialing | Stage::Remote => {}
        }
        Ok(())
    }

    fn language(&mut self, text: &str) {
        match choice(text, &Lang::ALL) {
            Some(lang) => {
                self.emit(Event::LanguageChosen { lang });
                self.greet();
            }
            None => self.no_keys(),
        }
    }

    fn wants_agent(&mut self) -> Result<(), Rejected> {
        self.choose_music();
        Ok(())
    }

    pub(super) fn no_keys(&mut self) {
        if matches!(self.call.stage, Stage::Waiting | Stage::Talking | Stage::Ringing | Stage::Ended | Stage::Dialing | Stage::Remote) {
            return;
        }
        self.emit(Event::Silence);
        let stage = self.call.stage;
        match stage {
            Stage::Language => {
                self.emit(Event::LanguageChosen { lang: Lang::default() });
                self.greet();
            }
            Stage::Recognised if self.call.silences >= MAX_SILENCES => self.authenticate(),
            Stage::Proving if self.call.silences >= MAX_SILENCES => self.close_challenge(Closed::CallerLeft),
            Stage::Music => self.enqueue(),
            Stage::KeyingToken => self.welcome(),
            // Who types elsewhere keys nothing here; it ends with the question's own time.
            Stage::Approving | Stage::Linking => {}
            // Silence is no consent; and where somebody should be heard, nobody can be.
            Stage::VoiceConsent if self.call.silences >= MAX_SILENCES => self.stop_voice(Stopped::Declined),
            Stage::VoiceTaking | Stage::VoiceSaying | Stage::VoiceDigits => self.stop_voice(Stopped::NotHeard),
            Stage::Confirming if self.call.silences >= MAX_SILENCES => {
                self.say(Prompt::Goodbye);
                self.end(Ending::NotReached);
            }
            _ if self.call.silences >= MAX_SILENCES => self.choose_music(),
            _ => {
                let spoken = self.call.challenge.as_ref().is_some_and(|c| c.spoken);
                self.say(if spoken { Prompt::NotUnderstood } else { Prompt::NothingHeard });
                self.ask_for(stage);
            }
        }
    }

    fn keyed_claim(&mut self, kind: ClaimKind, text: String) {
        if self.refused(Deny::Claims) {
            self.say(Prompt::Noted);
            self.choose_music();
            return;
        }
        let key = format!("claims/{}", self.origin());
        let (max, window) = (self.cx.params.keyed_claims, Some(Span::hours(1)));
        self.count(key, window, max, Attempt::Failed, Deny::Claims);
        let claim = Claim { kind, value: Secret::new(text), via: Via::Keypad };
        self.out.ask = Some(Ask::Find { claim, purpose: Purpose::Identify });
    }

    /// A claim was looked up. The caller hears the same whether it fitted or not.
    pub(super) fn found(&mut self, kind: ClaimKind, via: Via, accounts: Vec<Brief>, look_alike: bool) {
        self.record_claim(kind, via, &accounts, look_alike);
        self.settle(&accounts);
        match (via, kind) {
            (Via::Keypad, ClaimKind::AccountNumber) => {
                self.say(Prompt::Noted);
                self.ask_for(Stage::KeyingPostalCode);
            }
            (Via::Keypad, _) => {
                self.say(Prompt::Noted);
                // Asking for a proof would tell that one of the two was right, and what its holder has.
                if self.call.agreed { self.authenticate() } else { self.choose_music() }
            }
            (Via::Agent | Via::Network | Via::Client, _) => {}
        }
    }

    /// Notes what a claim fits. Once an account is open, a claim for another one only contradicts.
    pub(super) fn record_claim(&mut self, kind: ClaimKind, via: Via, accounts: &[Brief], look_alike: bool) {
        let mut ids: Vec<_> = accounts.iter().map(|b| b.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > MAX_MATCHES {
            ids.clear(); // fits too many to mean anybody
        }
        let claim = ClaimRecord { kind, via, accounts: ids, look_alike };
        let elsewhere = self.call.subject.is_some_and(|s| !claim.accounts.is_empty() && !claim.accounts.contains(&s));
        if elsewhere && self.fixed() {
            self.emit(Event::Contradicted { claim });
        } else {
            self.emit(Event::Claimed { claim });
        }
    }

    /// The code from the portal identifies and proves in one step (`netflix_service_code`).
    pub(super) fn redeemed(&mut self, verdict: Verdict, account: Option<Brief>) {
        let (origin, params) = (self.origin(), self.cx.params);
        // A call whose account is settled is not moved to another by a code: that would be a silent
        // switch. And a code of an account that we cannot read, or that policy does not let be used
        // there, is no better than a wrong one; nor is one that was used before.
        let token = self.call.stage == Stage::KeyingToken;
        let fits = |turn: &Self, proof: &Proof| {
            (!turn.fixed() || turn.call.subject == Some(proof.account()))
                && turn.call.delegate.is_none()
                && !turn.refused(Deny::Spent)
                && !turn.call.disowned
                && account.as_ref().is_some_and(|b| b.id == proof.account() && turn.may_use(proof.kind(), b))
        };
        let verdict = match verdict {
            Verdict::Proven { proof, once } if fits(self, &proof) => Some((proof, once)),
            Verdict::Proven { .. } | Verdict::Wrong => None,
        };
        let outcome = if verdict.is_some() { Attempt::Neutral } else { Attempt::Failed };
        self.count(format!("service/{origin}"), Some(params.throttle_window), params.throttle, outcome, Deny::ServiceCode);
        self.count("service/everywhere".into(), Some(Span::hours(1)), params.service_failures, outcome, Deny::ServiceCode);
        match verdict {
            Some((proof, once)) => {
                let lang = account.as_ref().and_then(|b| b.language);
                if self.call.subject != Some(proof.account()) {
                    let before = self.call.subject;
                    self.identified(proof.account(), false, before, account);
                }
                if let (None, Some(lang)) = (self.call.lang, lang) {
                    self.emit(Event::LanguageChosen { lang });
                }
                self.proved(proof, once, None);
                self.say(Prompt::Verified);
                self.choose_music();
            }
            // Nobody keyed it: nobody is told.
            None if token => {
                self.emit(Event::ServiceCodeFailed);
                self.welcome();
            }
            None => {
                self.emit(Event::ServiceCodeFailed);
                self.say(Prompt::NoMoreTries);
                self.after_service_code();
            }
        }
    }

    /// One try per call with a portal code; then the account number, or an agent.
    pub(super) fn after_service_code(&mut self) {
        if self.call.subject.is_some() { self.choose_music() } else { self.ask_for(Stage::KeyingAccountNumber) }
    }

    pub(super) fn choose_music(&mut self) {
        if self.call.stage == Stage::Remote {
            return;
        }
        if self.call.music.is_some() { self.enqueue() } else { self.ask_for(Stage::Music) }
    }

    /// Asks for the first factor that this customer has, policy lets be used, and was not tried;
    /// without one, the caller waits for an agent with what they have.
    pub(super) fn authenticate(&mut self) {
        if self.call.level >= Level::Authenticated || self.call.disowned {
            self.choose_music();
            return;
        }
        // Before anything is asked for or sent: it may have become too risky for that.
        self.rescore();
        if self.call.stage == Stage::Ended {
            return;
        }
        let reachable = self.principal.as_ref().is_some_and(|b| b.reachable);
        for kind in self.usable_kinds() {
            // Whoever has no device to wake would wait for nothing.
            let asks = kind.is_keyed() || self.hears(kind) || kind == FactorKind::Provider || (kind.is_portal() && reachable);
            if asks && !self.call.tried.contains(&kind) && self.challenge(kind, None, Vec::new(), None) {
                return;
            }
        }
        let portal = !self.call.tried.contains(&FactorKind::ServiceCode) && self.principal.as_ref().is_some_and(|b| self.may_use(FactorKind::ServiceCode, b));
        if self.call.subject.is_some() && portal { self.ask_for(Stage::KeyingServiceCode) } else { self.choose_music() }
    }
}

/// The choice with this key: `1` is the first.
fn choice<T: Copy>(text: &str, all: &[T]) -> Option<T> {
    let index = text.parse::<usize>().ok()?.checked_sub(1)?;
    all.get(index).copied()
}

