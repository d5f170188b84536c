//! A speaker network of one's own: loaded by its manifest, and never mixed with another.

use std::{fs, path::PathBuf, sync::Arc};

use countersign_core::{time::Span, voice::Outcome};
use countersign_server::voice::{TEMPLATE, VoiceSettings, Voices};
use countersign_voice::{
    Engine, Plugin,
    onnx::Limits,
    plugin::self_test_signal,
    spoof::{Ceiling, Heard, learn},
};
use sha2::{Digest as _, Sha256};

use super::voice::{Caller, ana, calibrated, kept, world_with};
use crate::{
    common::{Setup, World},
    voices::{
        calibration,
        onnx::{proto::text, twice},
        other_engine, other_network,
    },
};

/// The other network, with a calibration for it.
fn others() -> Arc<Voices> {
    let (manifest, file) = other_network();
    let plugin = Plugin::load(&manifest, &file, &Limits::default()).unwrap();
    Arc::new(Voices::new(Some(plugin), Some(calibration(&other_engine())), None).unwrap())
}

/// The same customers, and a program that was started with another network.
async fn restarted(world: &World, voices: Arc<Voices>) -> World {
    let next = world.sibling().await;
    next.app.runner.listens(voices);
    next
}

#[tokio::test]
async fn after_another_network_everybody_is_asked_to_enrol_again() {
    for (first, second) in [(calibrated(), others()), (others(), calibrated())] {
        let world = world_with(Some(first), Setup { file: true, ..Setup::default() }).await;
        let mut robin = world.robin().await;
        Caller::enrolled(&world, &mut robin).await;
        robin.end().await;
        world.deliver().await;
        let world = restarted(&world, second).await;
        world.pass(Span::hours(2));
        let mut robin = world.robin().await;
        let mut call = Caller::at(&world, &mut robin).await;
        robin.act("voice-compare", &[]).await.ok();
        call.says(&ana(50)).await;
        let comparison = call.compared().await;
        assert_eq!((comparison.outcome, comparison.score, comparison.learnt), (Outcome::OtherNetwork, None, false));
        // An answer of its own, and neither a pass nor held against anybody.
        robin.panel().await.shows("Voice: <b>could not be compared</b>").shows("the caller has to enrol again");
        let live = world.app.runner.call(call.id).await.unwrap().unwrap().call;
        assert_eq!((live.risk, kept(&world, TEMPLATE).await), (0, 1));
        robin.end().await;
        // Enrolled again, it is compared.
        world.pass(Span::hours(2));
        let mut robin = world.robin().await;
        Caller::enrolled(&world, &mut robin).await;
        robin.end().await;
        world.deliver().await;
        world.pass(Span::hours(2));
        let mut robin = world.robin().await;
        let mut call = Caller::at(&world, &mut robin).await;
        robin.act("voice-compare", &[]).await.ok();
        call.says(&ana(50)).await;
        assert_eq!(call.compared().await.outcome, Outcome::Alike);
        assert_eq!(kept(&world, TEMPLATE).await, 1);
    }
}

/// While nodes are started anew one after the other, two networks listen.
#[tokio::test]
async fn takes_of_two_networks_make_no_template() {
    let world = world_with(Some(calibrated()), Setup { file: true, ..Setup::default() }).await;
    let mut robin = world.robin().await;
    let mut caller = Caller::strong(&world, &mut robin).await;
    robin.act("voice-enrol", &[]).await.ok();
    caller.press("1").await;
    caller.says(&ana(1)).await;
    caller.world = restarted(&world, others()).await;
    caller.says(&ana(2)).await;
    assert!(caller.stopped().await.is_some(), "{:?}", caller.world.story(caller.id).await);
    assert_eq!(kept(&caller.world, TEMPLATE).await, 0);
}

#[test]
fn a_network_that_is_not_what_its_manifest_says_stops_the_start() {
    let folder = std::env::temp_dir().join(format!("countersign-network-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (manifest, file) = other_network();
    let path: PathBuf = folder.join("speaker.toml");
    let at = folder.join("calibration.json");
    let write = |manifest: &str, file: &[u8]| {
        fs::write(&path, manifest).unwrap();
        fs::write(path.with_extension("onnx"), file).unwrap();
    };
    let settings = VoiceSettings { calibration: None, speaker: Some(path.clone()), synthetic: None, consent_text: "2026-05".into(), expires_days: 730, tries: 6, digits: false };
    let measured = VoiceSettings { calibration: Some(at.clone()), ..settings.clone() };
    let told = |settings: &VoiceSettings| Voices::load(settings).err().unwrap().to_string();
    assert!(told(&settings).contains("voice.speaker") && told(&settings).contains("cannot be read"));
    let mut tampered = file.clone();
    tampered.extend([18, 1, b'x']);
    let line = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from}");
        manifest.replacen(from, to, 1)
    };
    for (manifest, file, says) in [
        (manifest.clone(), &tampered, "the manifest says"),
        (line("size = 128", "size = 64"), &file, "128 numbers where 64"),
        (line("kind = \"embedding\"", "kind = \"spoof\"\ngenuine = 1"), &file, "has to say kind = \"embedding\""),
        (line("kind = \"embedding\"", "kind = \"oracle\""), &file, "oracle"),
        (line("expected = [", "expected = [0.987654,"), &file, "self-test: number 0"),
        (line("licence = \"Apache-2.0\"", "licence = \"\""), &file, "`licence` is empty"),
        (line("output = \"embedding\"", "output = \"soul\""), &file, "no output `soul`"),
        (manifest.clone(), &Vec::from(&b"not a network"[..]), "the manifest says"),
    ] {
        write(&manifest, file);
        assert!(told(&settings).contains("voice.speaker") && told(&settings).contains(says), "{says}: {}", told(&settings));
    }
    write(&manifest, &file);
    assert!(Voices::load(&settings).is_ok());
    // A calibration of ours, one of its own, and one that does not say what it weighed.
    fs::write(&at, calibration(&Engine::built_in().unwrap()).to_json()).unwrap();
    assert!(told(&measured).contains("another speaker network") && told(&measured).contains("--speaker"), "{}", told(&measured));
    let mut own = calibration(&other_engine());
    fs::write(&at, own.to_json()).unwrap();
    assert!(Voices::load(&measured).is_ok());
    assert!(told(&VoiceSettings { speaker: None, ..measured.clone() }).contains("another speaker network"));
    // A threshold for synthetic speech belongs to its model.
    let (mut spoof, mut sum) = (twice(), String::new());
    spoof.extend(text(2, "a model for synthetic speech"));
    for byte in Sha256::digest(&spoof) {
        sum.push_str(&format!("{byte:02x}"));
    }
    let expected: Vec<f32> = self_test_signal().samples()[..8].iter().map(|sample| sample * 2.0).collect();
    let model = folder.join("spoof.toml");
    fs::write(model.with_extension("onnx"), &spoof).unwrap();
    fs::write(&model, format!(
        "kind = \"spoof\"\nname = \"test\"\nlicence = \"MIT\"\nsha256 = \"{sum}\"\nfeatures = \"samples\"\nsample_rate = 8000\ninput = \"x\"\n\
         length = 8\noutput = \"y\"\nsize = 8\ngenuine = 0\n[self_test]\nexpected = {expected:?}\ntolerance = 1e-5\n"
    )).unwrap();
    let guarded = VoiceSettings { synthetic: Some(model), ..measured.clone() };
    assert!(Voices::load(&guarded).is_ok(), "without a threshold it is never believed, and that is said");
    let people: Vec<Heard> = (0..60).map(|n| Heard { score: n as f32, of: n }).collect();
    for (sha256, fits) in [(Sha256::digest(&spoof).into(), true), ([1; 32], false)] {
        let ceiling = Ceiling { false_alarms: 0.05, model: sha256, seed: 1, repetitions: 10 };
        fs::write(&at, own.clone().with_spoof(learn(&people, &[], &ceiling).unwrap()).to_json()).unwrap();
        let loaded = Voices::load(&guarded);
        assert_eq!(loaded.is_ok(), fits);
        assert!(fits || loaded.err().unwrap().to_string().contains("another model of synthetic speech"));
        assert!(Voices::load(&measured).is_ok(), "without a model it does not matter");
    }
    (own.version, own.weights, own.genuine) = (1, None, None);
    fs::write(&at, own.to_json()).unwrap();
    assert!(told(&measured).contains("does not say what it weighed"));
    fs::remove_dir_all(&folder).unwrap();
}
