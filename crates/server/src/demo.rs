//! The demo: fictional people, one-click sign-in, a handset in a page. Nothing here is mounted by
//! `serve`, and everything binds to this machine only.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use countersign_core::{
    account::{Access, Authenticator, Contact, ContactKind, Delegation, Material, Order, Profile},
    action::Role,
    factor::{Algorithm, FactorKind, Otp, WordHash, WordRule, hotp},
    id::{AccountId, AuthenticatorId, ContactId, DelegationId},
    prompt::Lang,
    secret::Secret,
    time::{Span, Timestamp},
};
use countersign_store::Commit;

use crate::{
    App,
    agents::Agents,
    desk,
    i18n::Company,
    portal,
    pages::{self, DemoPerson, DemoView, Shell},
    runner::{RunError, Runner},
    vault::Vault,
    web::{WebError, set_cookie},
};

/// Somebody who can call in the demo.
#[derive(Debug, Clone)]
pub struct Person {
    /// Short name, for the pages.
    pub id: &'static str,
    /// Which account.
    pub account: AccountId,
    /// The calling number.
    pub number: String,
    name: &'static str,
    language: Lang,
    note: &'static str,
}

/// The people at the demo's desk: sign-in name and role.
pub const AGENTS: [(&str, Role); 4] = [("Robin", Role::Agent), ("Sam", Role::Specialist), ("Kim", Role::Lead), ("Alex", Role::Admin)];

/// A number of nobody's, whose SIM changed six hours ago.
pub const SWAPPED_SIM: &str = "+12025550190";

/// The demo's company. The recordings that come with us say its name.
pub fn company(link_base: &str) -> Company {
    Company { name: "Juniper & Co".into(), fraud_line: "+1 202 555 0100".into(), link_base: link_base.into() }
}

/// The key of Liam's authenticator app, for the page that plays it.
const LIAM_APP: &[u8; 20] = b"countersign-demo-app";

struct Cast {
    id: &'static str,
    name: &'static str,
    number: &'static str,
    landline: bool,
    account: &'static str,
    born: &'static str,
    address: &'static str,
    postal: &'static str,
    email: &'static str,
    language: Lang,
    pin: Option<(&'static str, Option<&'static str>)>,
    verbal: Option<&'static str>,
    app: bool,
    preferred: Option<FactorKind>,
    due: Option<i64>,
    note: &'static str,
}

const CAST: [Cast; 6] = [
    Cast {
        id: "ana", name: "Ana Torres", number: "+12025550142", landline: false, account: "10004711", born: "1984-03-09",
        address: "12 Juniper Lane, Springfield", postal: "20500", email: "ana.torres@example.com", language: Lang::En,
        pin: Some(("4071", None)), verbal: None, app: false, preferred: Some(FactorKind::Pin), due: Some(3),
        note: "PIN 4071 · account 10004711 · postal code 20500",
    },
    Cast {
        id: "liam", name: "Liam Okafor", number: "+12025550143", landline: false, account: "10004712", born: "1979-11-30",
        address: "5 Harbour Street, Portville", postal: "14770", email: "liam.okafor@example.com", language: Lang::En,
        pin: None, verbal: Some("purple rhinoceros"), app: true, preferred: None, due: None,
        note: "Authenticator app (code beside the name) · verbal password “purple rhinoceros” · may speak for account 10004713",
    },
    Cast {
        id: "chidi", name: "Chidi Okafor", number: "+12025550144", landline: true, account: "10004713", born: "1948-05-02",
        address: "7 Harbour Street, Portville", postal: "14770", email: "chidi.okafor@example.com", language: Lang::En,
        pin: Some(("8264", None)), verbal: None, app: false, preferred: None, due: Some(5),
        note: "Landline: codes are read out · PIN 8264 · Liam holds his power of attorney",
    },
    Cast {
        id: "sofia", name: "Sofía Ruiz", number: "+12025550145", landline: false, account: "10004714", born: "1991-07-21",
        address: "88 Calle Olmo, Santa Fe", postal: "87501", email: "sofia.ruiz@example.com", language: Lang::Es,
        pin: Some(("5093", Some("5099"))), verbal: None, app: false, preferred: Some(FactorKind::Pin), due: None,
        note: "Spanish · PIN 5093 · duress PIN 5099 (looks accepted, opens nothing, alerts the lead)",
    },
    Cast {
        id: "jonas", name: "Jonas Weber", number: "+12025550146", landline: false, account: "10004715", born: "1988-12-12",
        address: "3 Lindenweg, New Bremen", postal: "45869", email: "jonas.weber@example.com", language: Lang::De,
        pin: None, verbal: None, app: false, preferred: None, due: Some(1),
        note: "German · texted code only",
    },
    Cast {
        id: "tina", name: "Tina Bell", number: "+12025550147", landline: false, account: "10004716", born: "1995-02-14",
        address: "41 Mill Road, Brookfield", postal: "06804", email: "tina.bell@example.com", language: Lang::En,
        pin: Some(("7318", None)), verbal: None, app: false, preferred: Some(FactorKind::Pin), due: None,
        note: "PIN 7318 · her e-mail sounds like dina.bell@example.com, another customer’s",
    },
];

/// Puts the fictional customers and agents into an empty store. Returns the cast.
pub async fn seed(runner: &Runner, agents: &Agents) -> Result<Vec<Person>, RunError> {
    let (now, vault) = (runner.now(), &runner.vault);
    let mut people = Vec::new();
    let mut profiles = Vec::new();
    for cast in CAST {
        let profile = profile(&cast, vault, now)?;
        people.push(Person { id: cast.id, account: profile.id, number: cast.number.into(), name: cast.name, language: cast.language, note: cast.note });
        profiles.push(profile);
    }
    let liam = people.iter().find(|p| p.id == "liam").map(|p| p.account);
    if let (Some(chidi), Some(delegate)) = (profiles.iter_mut().find(|p| p.number.expose() == "10004713"), liam) {
        let actions = ["view:orders", "view:name", "do:cancel_order", "do:request_refund", "change:address"];
        let actions = actions.iter().filter_map(|a| a.parse().ok()).collect();
        chidi.delegations.push(Delegation { id: DelegationId(vault.id()?), delegate, kind: "power_of_attorney".into(), actions, until: now + Span::days(365) });
    }
    // Dina exists so that Tina's e-mail has a look-alike; nobody plays her.
    let Some(tina) = profiles.iter().find(|p| p.name.expose() == "Tina Bell") else { return Ok(people) };
    let mut dina = tina.clone();
    dina.id = AccountId(vault.id()?);
    (dina.name, dina.number, dina.postal_code) = ("Dina Bell".into(), "10004717".into(), "06810".into());
    dina.contacts = vec![contact(vault, ContactKind::Email, "dina.bell@example.com", now)?];
    (dina.orders, dina.authenticators) = (Vec::new(), Vec::new());
    profiles.push(dina);
    for profile in &profiles {
        let writes = runner.directory.insert(profile).await?;
        let commit = Commit { now: now.0, docs: writes.docs, index: writes.index, ..Commit::default() };
        runner.store.commit(commit).await.map_err(|e| RunError::Store(e.to_string()))?;
    }
    for (name, role) in AGENTS {
        // Nobody can use this password: the demo signs in with one click.
        let password = vault.token()?;
        agents.add(name, role, &password).await.map_err(|e| RunError::Store(e.to_string()))?;
    }
    Ok(people)
}

fn contact(vault: &Vault, kind: ContactKind, value: &str, now: Timestamp) -> Result<Contact, RunError> {
    Ok(Contact { id: ContactId(vault.id()?), kind, value: value.into(), usable_from: now - Span::days(400), no_texts: false, retired: None })
}

fn profile(cast: &Cast, vault: &Vault, now: Timestamp) -> Result<Profile, RunError> {
    let mut authenticators = Vec::new();
    let mut add = |kind, material| -> Result<(), RunError> {
        authenticators.push(Authenticator { id: AuthenticatorId(vault.id()?), kind, material, added: Timestamp(0), usable_from: Timestamp(0) });
        Ok(())
    };
    let word = |kind: FactorKind, text: &str| -> Result<WordHash, RunError> {
        Ok(WordHash::make(&WordRule::of(kind).normalise(&text.into()), vault.id()?, &vault.pepper))
    };
    if cast.app {
        add(FactorKind::Totp, Material::Otp(app_of_liam()))?;
    }
    if let Some((pin, duress)) = cast.pin {
        let duress = duress.map_or_else(|| Ok(WordHash::decoy()), |d| word(FactorKind::Pin, d))?;
        add(FactorKind::Pin, Material::Word { real: word(FactorKind::Pin, pin)?, duress })?;
    }
    if let Some(verbal) = cast.verbal {
        add(FactorKind::VerbalPassword, Material::Word { real: word(FactorKind::VerbalPassword, verbal)?, duress: WordHash::decoy() })?;
    }
    let phone = if cast.landline { ContactKind::Landline } else { ContactKind::Mobile };
    let order = |due: i64| Order {
        number: Secret::new(format!("7{}", cast.account)), what: "Reading lamp".into(), status: "shipped".into(), due: Some(now + Span::days(due)),
    };
    Ok(Profile {
        id: AccountId(vault.id()?), number: cast.account.into(), name: cast.name.into(), date_of_birth: cast.born.into(),
        address: cast.address.into(), postal_code: cast.postal.into(), language: Some(cast.language),
        contacts: vec![contact(vault, phone, cast.number, now)?, contact(vault, ContactKind::Email, cast.email, now)?],
        orders: cast.due.map(order).into_iter().collect(), authenticators, delegations: Vec::new(), preferred: cast.preferred,
        frozen: None, phone_lock: false, never_sms: false, access: Access::default(), portal: None, push: Vec::new(), voice: None, changed: None, events: 0,
    })
}

fn app_of_liam() -> Otp { Otp { key: Secret::new(hex::encode(LIAM_APP)), digits: 6, algorithm: Algorithm::Sha1, step: Some(30) } }

/// The routes of the demo.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(landing))
        .route("/handset", get(handset))
        .route("/demo/app/liam", get(liam))
        .route("/demo/sign-in/desk/{name}", post(sign_in))
        .route("/demo/sign-in/admin", post(sign_in_admin))
        .route("/demo/sign-in/portal/{person}", post(sign_in_portal))
}

fn view(app: &App) -> DemoView {
    let people = app.demo_people.iter().map(|p| {
        let code = if p.id == "liam" { format!("App code now: {} · ", liam_code(app.runner.now())) } else { String::new() };
        DemoPerson { id: p.id.into(), name: p.name.into(), number: p.number.clone(), language: p.language.code().into(), note: format!("{code}{}", p.note) }
    }).collect();
    DemoView { people, agents: AGENTS.iter().map(|(name, role)| (name.to_string(), name.to_string(), *role)).collect(), microphone: app.handsets.as_ref().is_some_and(|h| h.talks()) }
}

fn liam_code(now: Timestamp) -> String {
    let step = u64::try_from(now.unix() / 30).unwrap_or(0);
    hotp(&app_of_liam(), step).map(|c| c.expose().to_owned()).unwrap_or_default()
}

fn shell(app: &App) -> Shell<'_> { Shell { company: app.company(), user: None, demo: true } }

async fn landing(State(app): State<App>) -> Result<Html<String>, WebError> { Ok(Html(pages::landing(&shell(&app), &view(&app))?)) }

async fn handset(State(app): State<App>) -> Result<Html<String>, WebError> { Ok(Html(pages::handset(&shell(&app), &view(&app))?)) }

async fn liam(State(app): State<App>) -> String { liam_code(app.runner.now()) }

async fn sign_in(State(app): State<App>, Path(name): Path<String>) -> Result<Response, WebError> { as_agent(&app, &name, "/desk").await }

async fn sign_in_admin(State(app): State<App>) -> Result<Response, WebError> { as_agent(&app, "Kim", "/admin").await }

async fn as_agent(app: &App, name: &str, to: &str) -> Result<Response, WebError> {
    let token = app.agents.sign_in_for_demo(name).await.map_err(|e| WebError::Broken(e.to_string()))?.ok_or(WebError::NotFound)?;
    let set = set_cookie(desk::COOKIE, &token, crate::agents::SESSION_LIFE.0 / 1000, app.secure());
    Ok(([(header::SET_COOKIE, set)], Redirect::to(to)).into_response())
}

async fn sign_in_portal(State(app): State<App>, Path(person): Path<String>, headers: HeaderMap) -> Result<Response, WebError> {
    let person = app.demo_people.iter().find(|p| p.id == person).ok_or(WebError::NotFound)?;
    let set = portal::open_session(&app, person.account, portal::How::Demo, false, &headers).await?;
    Ok(([(header::SET_COOKIE, set)], Redirect::to("/me")).into_response())
}
