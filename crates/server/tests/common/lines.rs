//! The telephone systems beside Twilio, as each is set up, and requests as each of them makes them.

use std::{path::PathBuf, sync::Arc};

use axum::{body::Body, http::{Request, header}};
use countersign_core::{prompt::Music, secret::{E164, Secret}, time::Timestamp};
use countersign_server::{
    agents::Agents,
    i18n::Texts,
    outbox::http::signature,
    runner::Runner,
    telephony::{
        Lines,
        connect::{self, Connect, ConnectSettings},
        genesys::{self, Genesys, GenesysSettings},
        http::{self, Http, HttpSettings},
        jambonz::{self, Hooks, Jambonz, JambonzSettings, rest::Rest},
    },
};
use serde_json::{Value, json};

use super::{House, Setup, World};

pub const ACCOUNT: &str = "0a1b2c3d-0000-4000-8000-00000000000a";
pub const ATTESTATION: &str = "P-Asserted-Identity";
pub const INSTANCE: &str = "arn:aws:connect:eu-west-1:000000000000:instance/0a1b2c3d";
const PEOPLE: [&str; 4] = ["Robin", "Sam", "Ola", "Kim"];

/// What a company and one of its telephone systems share.
pub fn secret(house: &House, adapter: &str) -> Secret { Secret::new(format!("what {adapter} shares with {} and nobody else", house.company)) }

/// A settings file of a repository folder.
pub fn shipped(path: &str) -> Value {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    serde_json::from_str(&std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))).unwrap()
}

pub fn all(setup: &Setup, runner: &Arc<Runner>, texts: &Arc<Texts>, agents: &Arc<Agents>) -> Lines {
    let house = setup.house;
    let names = || {
        let agents = agents.clone();
        move |id| agents.name(id)
    };
    let clock = {
        let runner = Arc::downgrade(runner);
        Arc::new(move || runner.upgrade().map_or(Timestamp(0), |runner| runner.now()))
    };
    let settings = HttpSettings { secret_file: None, push_url: setup.http_push.clone(), app_number: None, hear_verbal_passwords: false, least_confidence: 80, agent_phones: PEOPLE.map(|name| (name.into(), "+12025550190".into())).into() };
    let http = Arc::new(Http::new(&settings, secret(&house, http::NAME), texts.clone(), house.url.into(), clock, names()).unwrap());

    let settings = JambonzSettings {
        account_sid: ACCOUNT.into(), webhook_secret_file: None, api_key_file: None, api_url: None, from: E164::parse("+12025550100").unwrap(), app_number: None,
        attestation_header: Some(ATTESTATION.into()), hear_verbal_passwords: false, least_confidence: 80, agent_phones: Default::default(),
    };
    let hooks = Hooks::new(house.url.into(), runner.vault.clone());
    let ours = hooks.clone();
    // Nobody listens there: what a call is to do next waits until the telephone asks.
    let rest = Rest::new("http://127.0.0.1:9", ACCOUNT, "a key".into(), settings.from.clone(), move |call| ours.ours(call)).unwrap();
    let jambonz = Arc::new(Jambonz::new(&settings, secret(&house, jambonz::NAME), Arc::new(rest), hooks, names()).unwrap());

    let arn = |kind: &str, name: &str| format!("{INSTANCE}/{kind}/{name}");
    let settings = ConnectSettings {
        secret_file: None, instance: Some(INSTANCE.into()), app_number: None, agents: PEOPLE.map(|name| (name.into(), arn("agent", name))).into(),
        music: Music::ALL.into_iter().filter(|m| *m != Music::Silence).map(|m| (m.name().into(), arn("prompt", m.name()))).collect(), voices: Default::default(),
    };
    let connect = Arc::new(Connect::new(&settings, secret(&house, connect::NAME), setup.connect_limit, names()).unwrap());

    let settings = GenesysSettings { token_file: None, app_number: None, agents: PEOPLE.map(|name| (name.into(), format!("{name}@example.com"))).into() };
    let genesys = Arc::new(Genesys::new(&settings, secret(&house, genesys::NAME), names()).unwrap());

    let hub = &runner.hub;
    hub.register(http::NAME, http.clone());
    hub.register(jambonz::NAME, jambonz.clone());
    hub.register(connect::NAME, connect.clone());
    hub.register(genesys::NAME, genesys.clone());
    Lines { http: Some(http), jambonz: Some(jambonz), connect: Some(connect), genesys: Some(genesys) }
}

/// A body with a signature in this header.
pub fn signed(path: &str, name: &str, secret: &Secret, at: Timestamp, body: &str) -> Request<Body> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").header(name, signature(secret, at, body.as_bytes()).unwrap());
    request.body(Body::from(body.to_owned())).unwrap()
}

pub fn of_http(house: &House, at: Timestamp, event: &Value) -> Request<Body> {
    signed("/http/event", "countersign-signature", &secret(house, http::NAME), at, &event.to_string())
}

pub fn of_jambonz(house: &House, at: Timestamp, path: &str, event: &Value) -> Request<Body> {
    signed(path, jambonz::SIGNATURE, &secret(house, jambonz::NAME), at, &event.to_string())
}

pub fn of_connect(house: &House, at: Timestamp, event: &Value) -> Request<Body> {
    signed("/connect/event", "countersign-signature", &secret(house, connect::NAME), at, &event.to_string())
}

pub fn of_genesys(house: &House, event: &Value) -> Request<Body> {
    let key = format!("Bearer {}", secret(house, genesys::NAME).expose());
    Request::post("/genesys/event").header(header::CONTENT_TYPE, "application/json").header(header::AUTHORIZATION, key).body(Body::from(event.to_string())).unwrap()
}

/// A webhook of jambonz with what it always says.
pub fn jambonz_event(sid: &str, more: &Value) -> Value {
    let mut event = json!({
        "call_sid": sid, "account_sid": ACCOUNT, "application_sid": "0a1b2c3d-0000-4000-8000-0000000000aa", "direction": "inbound", "call_id": "b770aa5a-2776-123d-a6a1",
        "from": "+12025550142", "to": "+12025550100", "call_status": "in-progress", "sip_status": 200, "originating_sip_ip": "192.0.2.7",
    });
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

/// The event of a Lambda function with what Amazon Connect always says.
pub fn connect_event(contact: &str, initial: &str, from: Option<&str>, to: &str, parameters: &Value) -> Value {
    let address = from.map_or(json!({ "Address": "anonymous", "Type": "TELEPHONE_NUMBER" }), |from| json!({ "Address": from, "Type": "TELEPHONE_NUMBER" }));
    json!({
        "Name": "ContactFlowEvent",
        "Details": {
            "ContactData": {
                "Attributes": {}, "Channel": "VOICE", "ContactId": contact, "InitialContactId": initial, "PreviousContactId": initial, "InitiationMethod": "INBOUND",
                "InstanceARN": INSTANCE, "CustomerEndpoint": address, "SystemEndpoint": { "Address": to, "Type": "TELEPHONE_NUMBER" }, "MediaStreams": {}, "Queue": null,
            },
            "Parameters": parameters,
        },
    })
}

/// What a telephone system of this company would send to this path.
pub fn everything(house: &House, path: &str, world: &World) -> Vec<Request<Body>> {
    let (at, from) = (world.now(), "+12025550142");
    match path {
        "/http/event" => vec![
            of_http(house, at, &json!({ "event": "started", "call": "x1", "from": from })), of_http(house, at, &json!({ "event": "now", "call": "x1" })),
        ],
        "/genesys/event" => vec![of_genesys(house, &json!({ "event": "started", "call": "x1", "from": from })), of_genesys(house, &json!({ "event": "now", "call": "x1" }))],
        "/connect/event" => vec![of_connect(house, at, &connect_event("x1", "x1", Some(from), "+12025550100", &json!({ "do": "start" })))],
        path => vec![of_jambonz(house, at, path, &jambonz_event(ACCOUNT, &json!({})))],
    }
}
