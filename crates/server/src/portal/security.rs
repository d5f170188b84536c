//! `/me/security`: what proves that it is this customer, and what makes calls easier for them.
//! Whoever sits at a session that was left open must not be able to change it: a passkey signs
//! first, or something else that was on file (`step_up.rs`); and everybody who was on file is told.

use axum::{
    Form, Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use countersign_core::{
    account::{Access, Authenticator, Material, Profile},
    factor::{BackupCodes, FactorKind, WordHash, WordRule},
    id::AuthenticatorId,
    random::Random,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::{Guard, Outcome, Stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    change,
    session::{Signed, signed},
    sign_in::{Start, host, no_passkeys, read, shell},
    step_up::{self, CONFIRM, added, counts_from, fresh},
};
use crate::{
    App,
    amend::{Extra, Notify},
    pages::{self, Flash, FlashKind, PasskeyLine, RemoveView, SecurityView, StoryLine},
    passkeys::Passkeys,
    privacy::PrivacyError,
    record::{self, AccountEvent},
    runner::RunError,
    web::WebError,
};

/// Codes of a printed list, and digits of each: 33 bits, far more than a guesser gets tries for.
const CODES: usize = 10;
const CODE_DIGITS: usize = 10;
/// Passkeys of an account, at most.
const PASSKEYS: usize = 20;
const NAME: usize = 40;
/// New words per account: each costs two password hashes.
const WORDS: u32 = 10;
const WORDS_WINDOW: Span = Span::hours(1);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/me/security", get(page))
        .route("/me/security/confirm", post(step_up::typed))
        .route("/me/security/confirm/start", post(step_up::start))
        .route("/me/security/confirm/finish", post(step_up::finish))
        .route("/me/security/passkey/start", post(passkey_start))
        .route("/me/security/passkey/finish", post(passkey_finish))
        .route("/me/security/rename", post(rename))
        .route("/me/security/remove", post(remove))
        .route("/me/security/word", post(word))
        .route("/me/security/codes", post(codes))
        .route("/me/security/preferences", post(preferences))
        .route("/me/security/download", post(download))
        .route("/me/security/voice", post(no_voice))
}

/// Puts an authenticator in the place of all of its kind.
pub(super) fn replace(profile: &mut Profile, kind: FactorKind, new: Authenticator) -> Vec<AccountEvent> {
    let before = profile.authenticators.len();
    profile.authenticators.retain(|a| a.kind != kind);
    let mut events = Vec::new();
    if profile.authenticators.len() < before {
        events.push(AccountEvent::AuthenticatorRemoved { kind: kind.name().into() });
    }
    profile.authenticators.push(new);
    events.push(AccountEvent::AuthenticatorAdded { kind: kind.name().into() });
    events
}

/// An authenticator of a kind, for the customer.
pub(super) fn kind_words(kind: &str) -> &'static str {
    match FactorKind::parse(kind) {
        Some(FactorKind::Passkey) => "a passkey",
        Some(FactorKind::Totp) => "an authenticator app",
        Some(FactorKind::Hotp) => "a token",
        Some(FactorKind::Pin) => "a PIN for the phone",
        Some(FactorKind::VerbalPassword) => "a verbal password",
        Some(FactorKind::BackupCode) => "a list of backup codes",
        Some(FactorKind::Provider) => "the company’s own sign-in",
        _ => "a way to prove it is you",
    }
}

/// A preference that was set, for the customer.
pub(super) fn preference_words(what: &str) -> &'static str {
    match what {
        "phone_lock_on" => "You locked changes by phone.",
        "phone_lock_off" => "You allowed changes by phone again.",
        "never_sms_on" => "You chose to get no codes by text.",
        "never_sms_off" => "You allowed codes by text again.",
        "texts_stopped" => "A text with STOP came from your telephone: it gets no more texts.",
        "texts_started" => "A text with START came from your telephone: it gets texts again.",
        "preferred" => "You chose what to be asked for first.",
        "access" => "You changed what makes calls easier.",
        _ => "You changed a name or a preference.",
    }
}

#[derive(Deserialize)]
struct Say {
    #[serde(default)]
    say: String,
}

/// What the last request led to. The address names one of these; it is never shown itself.
fn said(say: &str) -> Option<Flash> {
    let (kind, text) = match say {
        "added" => (FlashKind::Good, "It is set up. We told your addresses on file."),
        "later" => (FlashKind::Good, "It is set up. It counts on the phone from the time shown below: until then whoever should know can read our notice."),
        "removed" => (FlashKind::Good, "It is removed. We told your addresses on file."),
        "saved" => (FlashKind::Good, "Saved."),
        "voice" => (FlashKind::Good, "Your voice is off our file, and everything that described it is gone."),
        "confirmed" => (FlashKind::Good, "Confirmed. You can make changes for five minutes."),
        "confirm" => (FlashKind::Bad, "Nothing was changed: confirm first that it is you."),
        "wrong" => (FlashKind::Bad, "This was not right, or was used before. Nothing was changed."),
        "not-now" => (FlashKind::Bad, "This cannot be confirmed at the moment. Try again tomorrow, or call us."),
        "again" => (FlashKind::Bad, "This took too long. Begin again."),
        "enough" => (FlashKind::Bad, "Everything about you was downloaded three times within a day. Try again tomorrow."),
        "frozen" => (FlashKind::Bad, "Nothing was changed: your account is frozen. Call us to end that."),
        _ => return None,
    };
    Some(Flash { kind, text: text.into() })
}

async fn page(State(app): State<App>, headers: HeaderMap, Query(Say { say }): Query<Say>) -> Result<Html<String>, WebError> {
    let me = signed(&app, &headers).await?;
    let loaded = app.runner.directory.load(me.account).await?.ok_or(WebError::NotFound)?;
    let (profile, now) = (&loaded.profile, app.runner.now());
    let passkeys = Passkeys::of(&app);
    let one = |kind: FactorKind| profile.authenticators.iter().find(|a| a.kind == kind).map(|a| a.id.to_string());
    let mut kinds: Vec<FactorKind> = profile.brief(now).factors.iter().map(|f| f.kind).collect();
    kinds.dedup();
    let view = SecurityView {
        name: profile.name.expose().to_owned(), frozen: profile.frozen.is_some(), fresh: me.session.is_fresh(profile, now),
        works: passkeys.is_some(), elsewhere: passkeys.and_then(|p| p.elsewhere(host(&headers))),
        passkeys: profile.authenticators.iter().filter_map(|a| match &a.material {
            Material::Passkey { name, added, .. } => Some(PasskeyLine { id: a.id.to_string(), name: name.expose().to_owned(), added: *added, from: (a.usable_from > now).then_some(a.usable_from) }),
            _ => None,
        }).collect(),
        step_up: profile.step_up(now), waits: profile.authenticators.iter().filter(|a| a.usable_from > now).map(|a| (a.kind, a.usable_from)).collect(),
        app: one(FactorKind::Totp), token: one(FactorKind::Hotp), pin: one(FactorKind::Pin), verbal: one(FactorKind::VerbalPassword), provider: one(FactorKind::Provider),
        codes: profile.authenticators.iter().find_map(|a| match &a.material {
            Material::Codes { codes, added } => Some((a.id.to_string(), codes.len(), *added)),
            _ => None,
        }),
        voice: profile.voice.clone(),
        preferred: kinds.into_iter().map(|kind| (kind, profile.preferred == Some(kind))).collect(),
        never_sms: profile.never_sms, phone_lock: profile.phone_lock, access: profile.access,
        flash: said(&say), sign_ins: sign_ins(&app, &me).await?,
    };
    Ok(Html(pages::portal_security(&shell(&app), &view)?))
}

/// Consent is withdrawn as easily as it was given: without another proof, and nothing is held against
/// anybody for it.
async fn no_voice(State(app): State<App>, headers: HeaderMap) -> Result<Redirect, WebError> {
    let me = signed(&app, &headers).await?;
    app.runner.take_voice_away(me.account, "withdrawn").await?;
    Ok(Redirect::to("/me/security?say=voice"))
}

/// When and how somebody signed in lately, latest first: the customer knows which were not theirs.
async fn sign_ins(app: &App, me: &Signed) -> Result<Vec<StoryLine>, WebError> {
    let events = app.runner.store.events(Stream { kind: record::ACCOUNT, id: me.account.0 }).await?;
    let lines = events.iter().rev().filter_map(|event| match serde_json::from_str(&event.body) {
        Ok(AccountEvent::SignedIn { how }) => {
            let text = match how.as_str() {
                "passkey" => "with a passkey",
                "provider" => "with the company’s own sign-in",
                "demo" => "with one click, in the demo",
                _ => "from the company’s website",
            };
            Some(StoryLine { at: Timestamp(event.at), text: text.into() })
        }
        _ => None,
    });
    Ok(lines.take(5).collect())
}

// ── Passkeys: JSON, as only a script can talk to an authenticator ───────────────────────────────

async fn passkey_start(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, WebError> {
    let me = signed(&app, &headers).await?;
    let loaded = fresh(&app, &me).await?;
    let Start {} = read(&body)?;
    let passkeys = Passkeys::of(&app).ok_or_else(no_passkeys)?;
    if loaded.profile.authenticators.iter().filter(|a| a.kind == FactorKind::Passkey).count() >= PASSKEYS {
        return Err(WebError::Bad("These are enough passkeys. Remove one first.".into()));
    }
    Ok(Json(passkeys.start_registration(&app.runner, &loaded.profile, me.binding()).await?.json()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPasskey {
    ceremony: Secret,
    credential: Value,
    #[serde(default)]
    name: Secret,
}

async fn passkey_finish(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, WebError> {
    let me = signed(&app, &headers).await?;
    let loaded = fresh(&app, &me).await?;
    let NewPasskey { ceremony, credential, name } = read(&body)?;
    let name = given_name(&name);
    let passkeys = Passkeys::of(&app).ok_or_else(no_passkeys)?;
    let made = passkeys.finish_registration(&app.runner, &loaded.profile, me.binding(), &ceremony, credential).await?;
    let id = AuthenticatorId(app.runner.vault.id()?);
    change(&app, me.account, Notify::Everybody, made.spent.into(), |profile, now| {
        let usable_from = counts_from(&app, &me, profile, now);
        let material = Material::Passkey { name: name.clone(), credential: made.credential.clone(), added: now };
        profile.authenticators.push(Authenticator { id, kind: FactorKind::Passkey, material, added: now, usable_from });
        Ok(vec![AccountEvent::AuthenticatorAdded { kind: FactorKind::Passkey.name().into() }])
    }).await?;
    Ok(Json(json!({ "to": added(&app, &me, &loaded.profile) })))
}

/// What somebody calls a passkey: one line, not too long, never empty.
fn given_name(typed: &Secret) -> Secret {
    let words: Vec<&str> = typed.expose().split_whitespace().collect();
    let name: String = words.join(" ").chars().filter(|c| !c.is_control()).take(NAME).collect();
    Secret::new(if name.is_empty() { "Passkey".into() } else { name })
}

// ── Forms ────────────────────────────────────────────────────────────────────────────────────

#[derive(Deserialize)]
struct Rename {
    #[serde(default)]
    authenticator: String,
    #[serde(default)]
    name: Secret,
}

fn back(say: &'static str) -> Redirect { Redirect::to(say) }

async fn rename(State(app): State<App>, headers: HeaderMap, Form(form): Form<Rename>) -> Result<Redirect, WebError> {
    let me = signed(&app, &headers).await?;
    fresh(&app, &me).await?;
    let id: AuthenticatorId = form.authenticator.parse().map_err(|_| WebError::NotFound)?;
    let new = given_name(&form.name);
    change(&app, me.account, Notify::Nobody, Extra::default(), |profile, _| {
        let found = profile.authenticators.iter_mut().find(|a| a.id == id).ok_or(WebError::NotFound)?;
        let Material::Passkey { name, .. } = &mut found.material else { return Err(WebError::NotFound) };
        name.clone_from(&new);
        Ok(vec![AccountEvent::PreferenceChanged { what: "passkey_name".into() }])
    }).await?;
    Ok(back("/me/security?say=saved"))
}

#[derive(Deserialize)]
struct Remove {
    #[serde(default)]
    authenticator: String,
    /// The page that says what follows was read.
    #[serde(default)]
    sure: bool,
}

async fn remove(State(app): State<App>, headers: HeaderMap, Form(form): Form<Remove>) -> Result<Response, WebError> {
    let me = signed(&app, &headers).await?;
    let loaded = fresh(&app, &me).await?;
    let id: AuthenticatorId = form.authenticator.parse().map_err(|_| WebError::NotFound)?;
    let found = loaded.profile.authenticators.iter().find(|a| a.id == id).ok_or(WebError::NotFound)?;
    if !form.sure {
        let signs_in = |a: &&Authenticator| matches!(a.kind, FactorKind::Passkey | FactorKind::Provider);
        let view = RemoveView {
            id: id.to_string(), what: kind_words(found.kind.name()).to_owned(),
            name: match &found.material {
                Material::Passkey { name, .. } => Some(name.expose().to_owned()),
                _ => None,
            },
            last_sign_in: signs_in(&found) && loaded.profile.authenticators.iter().filter(signs_in).count() == 1,
            last: loaded.profile.authenticators.len() == 1,
        };
        return Ok(Html(pages::portal_remove(&shell(&app), &view)?).into_response());
    }
    change(&app, me.account, Notify::Everybody, Extra::default(), |profile, _| {
        let at = profile.authenticators.iter().position(|a| a.id == id).ok_or(WebError::NotFound)?;
        let gone = profile.authenticators.remove(at);
        Ok(vec![AccountEvent::AuthenticatorRemoved { kind: gone.kind.name().into() }])
    }).await?;
    Ok(back("/me/security?say=removed").into_response())
}

#[derive(Deserialize)]
struct Word {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    word: Secret,
    #[serde(default)]
    again: Secret,
    #[serde(default)]
    duress: Secret,
}

async fn word(State(app): State<App>, headers: HeaderMap, Form(form): Form<Word>) -> Result<Redirect, WebError> {
    let me = signed(&app, &headers).await?;
    let loaded = fresh(&app, &me).await?;
    let kind = FactorKind::parse(&form.kind).filter(|k| matches!(k, FactorKind::Pin | FactorKind::VerbalPassword)).ok_or(WebError::NotFound)?;
    let (rule, bad) = (WordRule::of(kind), |text: &str| WebError::Bad(text.into()));
    let real = rule.check(&form.word).map_err(|e| WebError::Bad(sentence(&e.to_string())))?;
    if !rule.normalise(&form.again).ct_eq(&real) {
        return Err(bad("The two entries differ. Type the same twice."));
    }
    let duress = match form.duress.expose().trim() {
        "" => None,
        _ => Some(rule.check(&form.duress).map_err(|e| WebError::Bad(format!("For the emergency one: {e}.")))?),
    };
    if duress.as_ref().is_some_and(|duress| duress.ct_eq(&real)) {
        return Err(bad("The emergency one must differ from the real one."));
    }
    let (vault, runner) = (app.runner.vault.clone(), &app.runner);
    let (id, salts) = (AuthenticatorId(vault.id()?), (vault.id()?, vault.id()?));
    let (real, duress) = runner.hash(move || {
        let duress = duress.map_or_else(WordHash::decoy, |word| WordHash::make(&word, salts.1, &vault.pepper));
        (WordHash::make(&real, salts.0, &vault.pepper), duress)
    }).await?;
    // Counted as failures, so that they run out: hashes are dear.
    let limit = Guard::Attempt { key: format!("words/{}", me.account), window: Some(WORDS_WINDOW.0), max: WORDS, outcome: Outcome::Fail };
    change(&app, me.account, Notify::Everybody, Extra { guards: vec![limit], ..Extra::default() }, |profile, now| {
        let usable_from = counts_from(&app, &me, profile, now);
        let new = Authenticator { id, kind, material: Material::Word { real: real.clone(), duress: duress.clone() }, added: now, usable_from };
        Ok(replace(profile, kind, new))
    }).await?;
    Ok(back(added(&app, &me, &loaded.profile)))
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

/// A new list in the place of the old one. Shown in the answer and never again.
async fn codes(State(app): State<App>, headers: HeaderMap) -> Result<Html<String>, WebError> {
    let me = signed(&app, &headers).await?;
    let loaded = fresh(&app, &me).await?;
    let vault = &app.runner.vault;
    let id = AuthenticatorId(vault.id()?);
    let mut random = Random::new(vault.seed()?);
    let mut list: Vec<Secret> = Vec::with_capacity(CODES);
    while list.len() < CODES {
        let code = random.digits(CODE_DIGITS);
        // Two equal ones would be spent as one.
        if !list.iter().any(|known| known.ct_eq(&code)) {
            list.push(code);
        }
    }
    let hashes = BackupCodes::make(id, &list, &vault.pepper);
    change(&app, me.account, Notify::Everybody, Extra::default(), |profile, now| {
        let usable_from = counts_from(&app, &me, profile, now);
        let new = Authenticator { id, kind: FactorKind::BackupCode, material: Material::Codes { codes: hashes.clone(), added: now }, added: now, usable_from };
        Ok(replace(profile, FactorKind::BackupCode, new))
    }).await?;
    let shown: Vec<String> = list.iter().map(|code| super::grouped(code.expose())).collect();
    let (now, from) = (app.runner.now(), counts_from(&app, &me, &loaded.profile, app.runner.now()));
    Ok(Html(pages::portal_codes(&shell(&app), now, &shown, (from > now).then_some(from))?))
}

/// Everything that is kept about them, as a file. Not by a link: other sites could have it fetched.
async fn download(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    let me = signed(&app, &headers).await?;
    let lang = fresh(&app, &me).await?.profile.language.unwrap_or_default();
    let all = match app.runner.download(me.account).await {
        Ok(all) => all,
        Err(PrivacyError::Run(RunError::Spent)) => return Ok(back("/me/security?say=enough").into_response()),
        Err(PrivacyError::NoCustomer) => return Err(WebError::NotFound),
        Err(PrivacyError::Run(e)) => return Err(e.into()),
        Err(e) => return Err(WebError::Broken(e.to_string())),
    };
    let file = json!({ "about": app.texts.about_download(lang).lines().collect::<Vec<_>>(), "data": all });
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"), (header::CONTENT_DISPOSITION, "attachment; filename=\"my-data.json\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, serde_json::to_string_pretty(&file)?).into_response())
}

#[derive(Deserialize)]
struct Preferences {
    #[serde(default)]
    preferred: String,
    #[serde(default)]
    never_sms: Option<String>,
    #[serde(default)]
    phone_lock: Option<String>,
    #[serde(default)]
    relay: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    unhurried: Option<String>,
    /// The form was sent whole: an empty request is not a wish to switch everything off.
    #[serde(default)]
    form: String,
}

async fn preferences(State(app): State<App>, headers: HeaderMap, Form(form): Form<Preferences>) -> Result<Redirect, WebError> {
    let me = signed(&app, &headers).await?;
    if form.form != "preferences" {
        return Err(WebError::Bad("This page is out of date. Open it again.".into()));
    }
    let loaded = app.runner.directory.load(me.account).await?.ok_or(WebError::NotFound)?;
    let preferred = FactorKind::parse(&form.preferred);
    let known = loaded.profile.brief(app.runner.now()).factors.iter().any(|f| Some(f.kind) == preferred);
    let preferred = preferred.filter(|kind| known || loaded.profile.preferred == Some(*kind));
    let (never_sms, phone_lock) = (form.never_sms.is_some(), form.phone_lock.is_some());
    let access = Access { relay: form.relay.is_some(), text: form.text.is_some(), unhurried: form.unhurried.is_some() };
    let weaker = |profile: &Profile| (profile.never_sms && !never_sms) || (profile.phone_lock && !phone_lock);
    let weakens = weaker(&loaded.profile);
    // A lock that a stranger at an open session can take off is none.
    if weakens {
        fresh(&app, &me).await?;
    }
    let notify = if weakens { Notify::Everybody } else { Notify::Nobody };
    change(&app, me.account, notify, Extra::default(), |profile, _| {
        if weaker(profile) && !weakens {
            return Err(CONFIRM);
        }
        let mut what = Vec::new();
        if profile.preferred != preferred {
            what.push("preferred");
        }
        if profile.never_sms != never_sms {
            what.push(if never_sms { "never_sms_on" } else { "never_sms_off" });
        }
        if profile.phone_lock != phone_lock {
            what.push(if phone_lock { "phone_lock_on" } else { "phone_lock_off" });
        }
        if profile.access != access {
            what.push("access");
        }
        (profile.preferred, profile.never_sms, profile.phone_lock, profile.access) = (preferred, never_sms, phone_lock, access);
        Ok(what.into_iter().map(|what| AccountEvent::PreferenceChanged { what: what.into() }).collect())
    }).await?;
    Ok(back("/me/security?say=saved"))
}
