//! Files that are shipped for vendors to import, and the contract of generic HTTP: each is what it says
//! it is, and what the server takes and answers.

use std::collections::{BTreeSet, HashMap};

use countersign_core::{call::Params, speech::Hearing};
use serde_json::{Value, json};

use super::plays::with_a_pin;
use crate::common::{
    Setup, World,
    caller::{Caller as _, Genesys, Http, Kind, from},
    lines::shipped,
    people::{ANA_LINE, LIAM_LINE},
    schema,
};

/// Every transition leads to a block that is there, every block is reached, and every answer that the
/// server gives has a branch.
#[test]
fn the_flow_of_amazon_connect_is_whole() {
    let flow = shipped("deploy/connect/flow.json");
    assert_eq!(flow["Version"], "2019-10-30");
    let blocks: HashMap<&str, &Value> = flow["Actions"].as_array().unwrap().iter().map(|block| (block["Identifier"].as_str().unwrap(), block)).collect();
    assert_eq!(blocks.len(), flow["Actions"].as_array().unwrap().len(), "names are unique");
    assert!(blocks.len() <= 250);
    let (mut reached, mut next) = (BTreeSet::new(), vec![flow["StartAction"].as_str().unwrap()]);
    while let Some(at) = next.pop() {
        let block = blocks.get(at).unwrap_or_else(|| panic!("{at} is not there"));
        if !reached.insert(at) {
            continue;
        }
        assert!(at.len() <= 50 && at.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{at}");
        let transitions = block["Transitions"].as_object().unwrap();
        let lists = ["Errors", "Conditions"].into_iter().filter_map(|list| transitions.get(list)).flat_map(|list| list.as_array().unwrap());
        let targets: Vec<&str> = transitions.get("NextAction").into_iter().chain(lists.map(|one| &one["NextAction"])).map(|to| to.as_str().unwrap()).collect();
        assert_eq!(targets.is_empty(), block["Type"] == "DisconnectParticipant", "{at} ends the flow");
        let errors: Vec<&str> = transitions.get("Errors").and_then(Value::as_array).into_iter().flatten().map(|one| one["ErrorType"].as_str().unwrap()).collect();
        match block["Type"].as_str().unwrap() {
            "InvokeLambdaFunction" => {
                assert_eq!(block["Parameters"]["ResponseValidation"]["ResponseType"], "STRING_MAP");
                assert_eq!(block["Parameters"]["InvocationTimeLimitSeconds"], "8");
                assert_eq!(errors, ["NoMatchingError"], "{at}");
            }
            "GetParticipantInput" => {
                let parameters = block["Parameters"].as_object().unwrap();
                assert_eq!(["Text", "SSML", "PromptId"].iter().filter(|name| parameters.contains_key(**name)).count(), 1, "{at} says one thing");
                assert_eq!(parameters["StoreInput"], "True");
                assert_eq!(parameters["DTMFConfiguration"]["DisableCancelKey"], "True", "a star is a key here");
                let number = |text: &Value| text.as_str().unwrap().parse::<u16>().unwrap();
                // Both have to be fixed.
                assert!((1..=180).contains(&number(&parameters["InputTimeLimitSeconds"])) && (1..=20).contains(&number(&parameters["InputValidation"]["CustomValidation"]["MaximumLength"])));
                assert_eq!(errors, ["NoMatchingError"], "{at}");
            }
            "Compare" => assert_eq!(errors, ["NoMatchingCondition"], "{at}"),
            "TransferContactToQueue" => assert_eq!((errors, &block["Parameters"]), (vec!["QueueAtCapacity", "NoMatchingError"], &json!({}))),
            "UpdateContactTargetQueue" | "MessageParticipant" | "UpdateContactTextToSpeechVoice" => assert_eq!(errors, ["NoMatchingError"], "{at}"),
            "UpdateFlowLoggingBehavior" | "DisconnectParticipant" => {}
            other => panic!("{at}: {other} is not a block that was looked at"),
        }
        assert!(flow["Metadata"]["ActionMetadata"].get(at).is_some(), "{at} has a place in the designer");
        next.extend(targets);
    }
    assert_eq!(reached, blocks.keys().copied().collect::<BTreeSet<_>>(), "no block is left over");
    // What the server can say.
    let source = include_str!("../../../src/telephony/connect.rs");
    let branches: BTreeSet<&str> = blocks["branch"]["Transitions"]["Conditions"].as_array().unwrap().iter().map(|c| c["Condition"]["Operands"][0].as_str().unwrap()).collect();
    for name in ["key_short", "key_long", "code_short", "code_long", "number_short", "number_long", "hold_music", "hold_silence", "wait"] {
        assert!(source.contains(&format!("\"{name}\"")) && branches.contains(name), "{name}");
    }
    assert_eq!(branches.len(), 9 + ["say", "agent", "hang_up"].len());
}

/// The schemas are schemas, the templates are JSON once they are filled, and nothing is in one that is
/// not in the other. That requests and answers fit them is checked whenever a call of the suite is played.
#[tokio::test]
async fn the_data_actions_of_genesys_are_whole() {
    let world = World::new().await;
    let genesys = Genesys::dial(&world, from(ANA_LINE)).await;
    for name in ["start", "keys", "now", "over"] {
        let action = shipped(&format!("deploy/genesys/countersign-{name}.custom.json"));
        assert_eq!((&action["integrationType"], &action["actionType"], &action["secure"]), (&json!("custom-rest-actions"), &json!("custom"), &json!(false)));
        let (input, output) = (&action["contract"]["input"]["inputSchema"], &action["contract"]["output"]["successSchema"]);
        for schema in [input, output] {
            assert_eq!(schema["$schema"], "http://json-schema.org/draft-04/schema#");
            let properties = schema["properties"].as_object().unwrap();
            assert!(schema["required"].as_array().unwrap().iter().all(|name| properties.contains_key(name.as_str().unwrap())));
            // An object without its fields is refused for what is missing, so the schema is read.
            assert!(schema::check(schema, &json!({})).unwrap_err().contains("is missing"));
        }
        let template = action["config"]["request"]["requestTemplate"].as_str().unwrap();
        let used: Vec<&str> = template.split("${input.").skip(1).map(|part| part.split('}').next().unwrap()).collect();
        let declared: BTreeSet<&str> = input["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(used.iter().copied().collect::<BTreeSet<_>>(), declared, "{name}");
        for text in used.iter().filter(|field| input["properties"][**field]["type"] == "string") {
            assert!(template.contains(&format!("\"$esc.jsonString(${{input.{text}}})\"")), "{name}: {text} is escaped");
        }
        assert!(!action.to_string().to_lowercase().contains("what genesys shares"), "no key is shipped");
    }
    // Text from outside stays within its field.
    let page = genesys.act("keys", &json!({ "call": genesys.call, "step": 1, "keys": "1\",\"event\":\"hung_up" })).await;
    page.is(400);
    let page = genesys.act("now", &json!({ "call": "x\",\"event\":\"started" })).await;
    page.is(400);
}

/// What a call asks of Asterisk is what its page shows. (That of FreeSWITCH is compared in
/// `freeswitch::a_whole_call`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_asterisk_shows_what_is_asked_of_it() {
    let world = World::with(Kind::Asterisk.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = with_a_pin(&world, Kind::Asterisk, &mut robin).await;
    robin.prove("pin", "").await.ok();
    caller.listen().await;
    caller.keys("4071").await;
    robin.end().await.ok();
    caller.listen().await;
    let (_, page) = include_str!("../../../../../docs/asterisk.md").split_once("## What we ask").unwrap();
    let asked = world.rigs.asterisk(&world).await.ari.asked();
    assert!(asked.len() > 10);
    for shape in asked {
        assert!(page.contains(&format!("`{shape}`")), "{shape} is not on the page");
    }
}

/// Every event that docs/http.openapi.json describes is taken, every answer is as it says, and what it
/// forbids is refused.
#[tokio::test]
async fn the_contract_of_generic_http_is_kept() {
    let document = shipped("docs/http.openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let at = |path: &str| document.pointer(path).unwrap_or_else(|| panic!("{path}"));
    let (event, answer) = (at("/components/schemas/Event"), at("/components/schemas/Answer"));
    let events = at("/paths/~1http~1event/post/requestBody/content/application~1json/examples").as_object().unwrap();
    let world = World::new().await;
    let mut http = Http::dial(&world, from(ANA_LINE)).await;
    let mut seen = BTreeSet::new();
    for (name, example) in events {
        let mut example = example["value"].clone();
        schema::check_in(&document, event, &example).unwrap_or_else(|e| panic!("{name}: {e}"));
        seen.insert(example["event"].as_str().unwrap().to_owned());
        if example["call"] != json!("call_00000000000000000000000000000001") {
            example["call"] = json!(http.call);
        }
        if example.get("step").is_some() {
            example["step"] = json!(http.step);
        }
        let page = http.send(&example).await;
        match example["event"].as_str().unwrap() {
            // Nobody was rung.
            "answered" => drop(page.is(404)),
            _ => schema::check_in(&document, answer, &serde_json::from_str(&page.ok().body).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}\n{}", page.body)),
        }
    }
    assert_eq!(seen, ["answered", "hung_up", "keys", "no_keys", "now", "said", "started"].map(str::to_owned).into());
    // All that a call can be told.
    let world = World::new().await;
    let mut robin = world.robin().await;
    http = Http::dial(&world, from(ANA_LINE)).await;
    for keys in ["2", "4071", "1"] {
        schema::check_in(&document, answer, &http.answer).unwrap();
        http.keys(keys).await;
    }
    schema::check_in(&document, answer, &http.answer).unwrap();
    robin.call = http.id();
    robin.act("accept", &[]).await.ok();
    http.listen().await;
    schema::check_in(&document, answer, &http.answer).unwrap();
    assert_eq!(http.answer["do"].as_array().unwrap().last().unwrap()["agent"], "Robin");
    robin.end().await.ok();
    http.listen().await;
    schema::check_in(&document, answer, &http.answer).unwrap();
    // A recogniser is asked, and what it understood is taken.
    let hearing = vec![Hearing { adapter: "http".into(), floor: 80 }];
    let world = World::with(Setup { params: Params { hearing, ..Params::default() }, ..Setup::default() }).await;
    let mut robin = world.robin().await;
    http = Http::dial(&world, from(LIAM_LINE)).await;
    for keys in ["0", "1"] {
        http.keys(keys).await;
    }
    robin.call = http.id();
    robin.act("accept", &[]).await.ok();
    robin.prove("verbal_password", "").await.ok();
    http.listen().await;
    schema::check_in(&document, answer, &http.answer).unwrap();
    assert_eq!(http.answer["do"].as_array().unwrap().last().unwrap()["do"], "listen");
    http.understood("purple rhinoceros", Some(0.93)).await;
    schema::check_in(&document, answer, &http.answer).unwrap();
    assert!(world.tells(http.id(), "Proved: verbal password.").await);
    // What the document forbids.
    for bad in [
        json!({ "event": "keys", "call": http.call, "step": 1, "keys": "1", "to": "+12025550166" }), json!({ "event": "keys", "call": http.call, "keys": "1" }),
        json!({ "event": "keys", "call": http.call, "step": "1", "keys": "1" }), json!({ "event": "said", "call": http.call, "step": 1, "text": "x", "confidence": 1.2 }), json!({ "event": "said", "call": http.call, "step": 1 }), json!({ "event": "transfer", "call": http.call }), json!({ "call": http.call }), json!([]),
        json!({ "event": "started", "call": http.call, "attestation": "passed" }), json!({ "event": "started", "call": "new", "identity": vec!["x"; 13] }), json!({ "event": "now", "call": http.call, "step": -1 }), json!({ "event": "now", "call": 7 }),
    ] {
        assert!(schema::check_in(&document, event, &bad).is_err(), "{bad}");
        http.send(&bad).await.is(400);
    }
}
