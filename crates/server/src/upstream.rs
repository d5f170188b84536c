//! Has the company's own sign-in provider ask its customer during a call (OpenID CIBA, poll mode):
//! asked once, then looked after every few seconds until it has an answer or the request is over.
//! What was asked is kept in the store, so that a restart loses nobody's answer.

use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{
    call::Input,
    factor::{Alphabet, Attested, FactorKind, Transaction},
    id::{CallId, ChallengeId},
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Commit, CommitError, DocWrite, Expect, OutboxItem};
use serde::{Deserialize, Serialize};

use crate::{
    effects::{ASK_PROVIDER, Asked},
    oidc::{LEEWAY, OpenId, ProviderError},
    outbox::{Carried, Courier, provider::SOON},
    portal::oidc::subject,
    runner::{Attestor, RunError, Runner},
};

/// The kind under which open questions are kept.
pub const UPSTREAM: &str = "upstream";
/// The grant (CIBA Core §10.1).
const GRANT: &str = "urn:openid:params:grant-type:ciba";
/// Unless the provider says otherwise (CIBA Core §7.3), and at most.
const INTERVAL: i64 = 5;

/// By what the provider is told whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Its own name for the customer, as it was linked at a sign-in.
    #[default]
    Subject,
    /// Our account number.
    AccountNumber,
}

/// What is asked, and how.
#[derive(Debug, Clone)]
pub struct Questions {
    /// By what it is told whom to ask.
    pub hint: Hint,
    /// What is asked for; `openid` is in it.
    pub scope: String,
    /// How sure it has to be, in its own words.
    pub acr_values: Option<String>,
}

/// Asks the provider.
pub struct Upstream {
    runner: Arc<Runner>,
    openid: Arc<OpenId>,
    questions: Questions,
}

/// A question on its way, under the id of its challenge.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    call: CallId,
    challenge: ChallengeId,
    /// The provider's name for it.
    auth_req_id: Secret,
    interval: i64,
    asked: Timestamp,
    until: Timestamp,
    /// The answer, once it came: the grant is spent then.
    #[serde(default)]
    token: Option<Secret>,
}

/// What the call machine hands back to be looked at.
#[derive(Debug, Serialize, Deserialize)]
struct Presented {
    challenge: ChallengeId,
    auth_req_id: Secret,
    asked: Timestamp,
    token: Secret,
}

/// What the provider says when it has asked (CIBA Core §7.3).
#[derive(Deserialize)]
struct Acknowledged {
    auth_req_id: Secret,
    expires_in: i64,
    interval: Option<i64>,
}

impl Upstream {
    /// Connects to nothing.
    pub fn new(runner: Arc<Runner>, openid: Arc<OpenId>, questions: Questions) -> Self { Self { runner, openid, questions } }

    /// What is left of the life of a challenge that still waits.
    async fn left(&self, call: CallId, challenge: ChallengeId) -> Result<Option<Span>, RunError> {
        let open = self.runner.call(call).await?.and_then(|l| l.call.challenge).filter(|c| c.id == challenge && c.kind == FactorKind::Provider);
        Ok(open.map(|c| c.expires - self.runner.now()).filter(|left| left.0 >= 1000))
    }

    async fn answer(&self, call: CallId, challenge: ChallengeId, answer: Option<Secret>) -> Result<(), RunError> {
        answer_call(&self.runner, call, challenge, answer).await
    }

    async fn ask(&self, item: &OutboxItem) -> Result<Carried, RunError> {
        let asked: Asked = self.runner.vault.unseal("outbox", &item.id, &item.body)?;
        let (call, challenge) = (CallId(item.owner), asked.challenge);
        let Some(left) = self.left(call, challenge).await? else { return Ok(Carried::Never) };
        if self.runner.store.doc(UPSTREAM, &challenge.0).await?.is_some() {
            return Ok(Carried::Done);
        }
        // Somebody may have been asked already, and nobody knows under which name: not twice.
        if item.interrupted {
            self.answer(call, challenge, None).await?;
            return Ok(Carried::Never);
        }
        match self.request(&asked, left).await {
            Ok(said) => {
                let now = self.runner.now();
                let life = Span::seconds(said.expires_in.clamp(1, 3600)).min(left);
                let open = Open {
                    call, challenge, auth_req_id: said.auth_req_id, interval: said.interval.unwrap_or(INTERVAL).clamp(1, 3600), asked: now, until: now + life, token: None,
                };
                self.keep(&open, Expect::New, now + Span::seconds(open.interval)).await?;
                Ok(Carried::Done)
            }
            // Nothing left this machine.
            Err(ProviderError::Unreachable) => Ok(Carried::Again(SOON)),
            Err(e) => {
                tracing::warn!(error = %e, "the provider was not asked");
                self.answer(call, challenge, None).await?;
                Ok(Carried::Never)
            }
        }
    }

    async fn request(&self, asked: &Asked, left: Span) -> Result<Acknowledged, ProviderError> {
        let metadata = self.openid.metadata().await.map_err(|_| ProviderError::Unreachable)?;
        let to = metadata.backchannel_authentication_endpoint.ok_or(ProviderError::Unusable("it does not ask customers for others (CIBA)"))?;
        let loaded = self.runner.directory.load(asked.account).await.ok().flatten().ok_or(ProviderError::Unusable("no such account"))?;
        let (_, name) = subject(&loaded.profile, self.openid.issuer()).ok_or(ProviderError::Unusable("the account is not linked"))?;
        let hint = match self.questions.hint { Hint::Subject => name, Hint::AccountNumber => &loaded.profile.number };
        // The words on the customer's device: the code that the call gives, so that each sees that it is one matter.
        let code = self.runner.vault.pepper.travel_code(asked.challenge, Alphabet::Known);
        let life = (left.0 / 1000).to_string();
        let mut form = vec![("scope", self.questions.scope.as_str()), ("login_hint", hint.expose()), ("binding_message", code.expose()), ("requested_expiry", &life)];
        form.extend(self.questions.acr_values.as_deref().map(|acr| ("acr_values", acr)));
        let answer = self.openid.post(&to, &form).await?;
        if answer.status.as_u16() != 200 {
            return Err(OpenId::refusal(&answer));
        }
        answer.json::<Acknowledged>().filter(|a| (1..=1024).contains(&a.auth_req_id.expose().len())).ok_or(ProviderError::Unusable("it did not say how its question is called"))
    }

    async fn keep(&self, open: &Open, expected: Expect, due: Timestamp) -> Result<bool, RunError> {
        let body = self.runner.vault.seal(UPSTREAM, &open.challenge.0, open)?;
        self.write(DocWrite::Put { kind: UPSTREAM, id: open.challenge.0.to_vec(), expected, body, due: Some(due.0) }).await
    }

    async fn drop(&self, challenge: ChallengeId) -> Result<(), RunError> {
        self.write(DocWrite::Delete { kind: UPSTREAM, id: challenge.0.to_vec() }).await.map(|_| ())
    }

    /// `false`: somebody else was faster.
    async fn write(&self, doc: DocWrite) -> Result<bool, RunError> {
        match self.runner.store.commit(Commit { now: self.runner.now().0, docs: vec![doc], ..Commit::default() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Busy | CommitError::Closed) => Err(RunError::Busy),
            Err(e) => Err(RunError::Store(e.to_string())),
        }
    }

    /// Looks after every question whose time has come. Returns how many.
    pub async fn poll(&self) -> Result<usize, RunError> {
        let due = self.runner.store.docs_due(UPSTREAM, self.runner.now().0, 50).await?;
        let looks = due.iter().map(|(id, doc)| async move {
            match self.runner.vault.unseal::<Open>(UPSTREAM, id, &doc.body) {
                Ok(open) => self.look(open, doc.version).await,
                Err(e) => Err(e.into()),
            }
        });
        for result in futures_util::future::join_all(looks).await {
            if let Err(e) = result {
                tracing::warn!(error = %e, "a question to the provider could not be looked after");
            }
        }
        Ok(due.len())
    }

    async fn look(&self, mut open: Open, version: u64) -> Result<(), RunError> {
        let now = self.runner.now();
        if self.left(open.call, open.challenge).await?.is_none() {
            return self.drop(open.challenge).await;
        }
        if let Some(token) = open.token.clone() {
            return self.present(&open, token).await;
        }
        if open.until <= now {
            self.answer(open.call, open.challenge, None).await?;
            return self.drop(open.challenge).await;
        }
        // First the next time, then the question: two of us never ask at once, and never too often.
        if !self.keep(&open, Expect::Version(version), now + Span::seconds(open.interval)).await? {
            return Ok(());
        }
        match self.openid.token(&[("grant_type", GRANT), ("auth_req_id", open.auth_req_id.expose())]).await {
            Ok(token) => {
                // The grant is spent with this: kept before anything else.
                open.token = Some(token.clone());
                self.keep(&open, Expect::Any, now).await?;
                self.present(&open, token).await
            }
            Err(ProviderError::Refused("authorization_pending") | ProviderError::Unreachable | ProviderError::NoAnswer | ProviderError::Unusable(_)) => Ok(()),
            Err(ProviderError::Refused("slow_down")) => {
                // CIBA Core §11: five seconds more, for this and all that follow.
                open.interval = (open.interval + 5).min(3600);
                self.keep(&open, Expect::Any, now + Span::seconds(open.interval)).await.map(|_| ())
            }
            Err(e) => {
                tracing::info!(error = %e, "the provider's customer was not asked with success");
                self.answer(open.call, open.challenge, None).await?;
                self.drop(open.challenge).await
            }
        }
    }

    async fn present(&self, open: &Open, token: Secret) -> Result<(), RunError> {
        let presented = Presented { challenge: open.challenge, auth_req_id: open.auth_req_id.clone(), asked: open.asked, token };
        self.answer(open.call, open.challenge, Some(Secret::new(serde_json::to_string(&presented)?))).await?;
        self.drop(open.challenge).await
    }

    /// What an ID token says about this transaction. `None`: nothing.
    async fn judge(&self, asked: &Transaction, presented: &Secret, docs: &mut Vec<DocWrite>) -> Result<Option<Attested>, RunError> {
        let Ok(presented) = serde_json::from_str::<Presented>(presented.expose()) else { return Ok(None) };
        let identity = match self.openid.identity(&presented.token, None).await {
            Ok(identity) => identity,
            Err(e) => {
                tracing::warn!(error = %e, "an answer of the provider does not count");
                return Ok(None);
            }
        };
        let Some(loaded) = self.runner.directory.load(asked.account).await? else { return Ok(None) };
        docs.push(loaded.still());
        let Some((authenticator, name)) = subject(&loaded.profile, self.openid.issuer()) else { return Ok(None) };
        let acr = self.questions.acr_values.as_ref().is_none_or(|wanted| wanted.split(' ').any(|w| identity.acr.as_deref() == Some(w)));
        // In push mode it must be there (CIBA Core §10.3.1); in poll mode it counts if it is.
        let request = identity.claim("urn:openid:params:jwt:claim:auth_req_id").is_none_or(|id| id.ct_eq(&presented.auth_req_id));
        let good = presented.challenge == asked.challenge && name.ct_eq(&identity.subject) && acr && request && identity.issued + LEEWAY >= presented.asked;
        if !good {
            tracing::warn!("an answer of the provider is for another customer, request or assurance: it does not count");
        }
        Ok(good.then(|| Attested { transaction: asked.hash(), account: asked.account, authenticator, kind: FactorKind::Provider, counter: 0 }))
    }
}

async fn answer_call(runner: &Runner, call: CallId, challenge: ChallengeId, answer: Option<Secret>) -> Result<(), RunError> {
    match runner.run(call, format!("provided/{challenge}"), || Input::Provided { challenge, answer: answer.clone() }).await {
        // Over in the meantime.
        Ok(_) | Err(RunError::NoCall | RunError::Rejected(_)) => Ok(()),
        Err(e) => Err(e),
    }
}

#[async_trait]
impl Attestor for Upstream {
    async fn attest(&self, _: &Runner, asked: &Transaction, presented: &Secret, docs: &mut Vec<DocWrite>) -> Result<Option<Attested>, RunError> {
        docs.push(DocWrite::Delete { kind: UPSTREAM, id: asked.challenge.0.to_vec() });
        self.judge(asked, presented, docs).await
    }
}

/// The errands to the provider, or, without one, to nobody: then no caller waits for it.
pub struct Errands {
    runner: Arc<Runner>,
    upstream: Option<Arc<Upstream>>,
}

impl Errands {
    /// With whoever asks, if anybody.
    pub fn new(runner: Arc<Runner>, upstream: Option<Arc<Upstream>>) -> Self { Self { runner, upstream } }

    async fn refuse(&self, item: &OutboxItem) -> Result<Carried, RunError> {
        let asked: Asked = self.runner.vault.unseal("outbox", &item.id, &item.body)?;
        answer_call(&self.runner, CallId(item.owner), asked.challenge, None).await?;
        Ok(Carried::Never)
    }
}

#[async_trait]
impl Courier for Errands {
    fn topic(&self) -> &'static str { ASK_PROVIDER }

    async fn carry(&self, item: &OutboxItem) -> Carried {
        let carried = match &self.upstream {
            Some(upstream) => upstream.ask(item).await,
            None => self.refuse(item).await,
        };
        match carried {
            Ok(carried) => carried,
            Err(RunError::Busy) => Carried::Again(Span::seconds(1)),
            Err(e) => {
                tracing::error!(error = %e, "the provider could not be asked");
                Carried::Never
            }
        }
    }
}
