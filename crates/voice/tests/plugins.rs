//! Networks of somebody else's, by their manifests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use common::onnx::proto::text;
use common::onnx::twice;
use countersign_voice::onnx::{Limits, ModelError};
use countersign_voice::plugin::{Plugin, PluginError, self_test_signal};
use sha2::Digest as _;

/// A network for embeddings: the mean of its input in blocks would do, so it is the input itself.
fn manifest(file: &[u8], expected: &str) -> String {
    let sum: String = sha2::Sha256::digest(file)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "kind = \"embedding\"\nname = \"test\"\nlicence = \"Apache-2.0\"\nsha256 = \"{sum}\"\nfeatures = \"samples\"\n\
         sample_rate = 8000\ninput = \"x\"\nlength = 8\noutput = \"y\"\nsize = 8\n\
         [self_test]\nexpected = {expected}\ntolerance = 1e-5\n"
    )
}

fn expected() -> String {
    format!(
        "{:?}",
        self_test_signal().samples()[..8]
            .iter()
            .map(|sample| sample * 2.0)
            .collect::<Vec<_>>()
    )
}

#[test]
fn a_network_by_manifest_is_loaded_and_tests_itself() {
    let file = twice();
    let plugin = Plugin::load(&manifest(&file, &expected()), &file, &Limits::default()).unwrap();
    let audio = countersign_voice::Audio::from_samples(vec![0.25; 8]).unwrap();
    assert_eq!(plugin.embedding(&audio).unwrap(), [0.5; 8]);
    assert!(
        matches!(plugin.spoof(&audio), Err(ModelError::Ports(_))),
        "it is of another kind"
    );
}

#[test]
fn a_manifest_that_is_wrong_says_where() {
    let file = twice();
    let good = manifest(&file, &expected());
    let error = |manifest: &str| {
        Plugin::load(manifest, &file, &Limits::default())
            .err()
            .expect("it is refused")
    };
    let mut other = twice();
    other.extend(text(2, "another producer"));
    let wrong_hash = Plugin::load(&good, &other, &Limits::default())
        .err()
        .unwrap();
    assert!(
        matches!(wrong_hash, PluginError::OtherFile { .. }),
        "{wrong_hash}"
    );
    let wrong = error(&manifest(&file, "[9.0]"));
    assert!(
        matches!(wrong, PluginError::SelfTest { place: 0, .. }),
        "{wrong}"
    );
    for (line, by, said) in [
        ("kind = \"embedding\"", "kind = \"oracle\"", "oracle"),
        ("kind = \"embedding\"", "kind = \"spoof\"", "`genuine`"),
        ("licence = \"Apache-2.0\"", "licence = \" \"", "`licence`"),
        ("licence = \"Apache-2.0\"\n", "", "licence"),
        ("sample_rate = 8000", "sample_rate = 44100", "`sample_rate`"),
        ("length = 8", "length = 0", "`length`"),
        ("length = 8", "", "`length`"),
        ("length = 8", "length = 8\nlongest = 9", "`length`"),
        ("length = 8", "length = 8\nexecute = \"rm\"", "execute"),
        ("size = 8", "size = 100000", "`size`"),
        ("size = 8", "size = 7", "8 numbers where 7"),
        ("output = \"y\"", "output = \"z\"", "no output `z`"),
        (
            "tolerance = 1e-5",
            "tolerance = 1000",
            "`self_test.tolerance`",
        ),
        ("sha256 = \"", "sha256 = \"zz", "`sha256`"),
    ] {
        let edited = good.replacen(line, by, 1);
        assert_ne!(edited, good, "{line} is in it");
        let found = error(&edited).to_string();
        assert!(found.contains(said), "{by}: {found}");
    }
    let long = format!("{good}# {}", "x".repeat(20_000));
    assert!(error(&long).to_string().contains("longer than"));
    let small = Limits {
        file_bytes: 10,
        ..Limits::default()
    };
    assert!(matches!(
        Plugin::load(&good, &file, &small),
        Err(PluginError::Model(ModelError::TooLarge { .. }))
    ));
}

/// Networks of others, where they are.
#[test]
#[ignore = "needs recordings of people: COUNTERSIGN_VOICE_DATA, as `cargo xtask test` runs it"]
fn networks_of_others_run_by_their_manifests() {
    let data = common::data();
    for (name, size, rest) in [
        (
            "aasist-l_16k_64600",
            2,
            "kind = \"spoof\"\nfeatures = \"samples\"\nsample_rate = 16000\ninput = \"wave\"\nlength = 64600\noutput = \"logits\"\ngenuine = 1",
        ),
        (
            "silero_vad_8k",
            1,
            "kind = \"vad\"\nfeatures = \"samples\"\nsample_rate = 8000\ninput = \"input\"\nlength = 288\noutput = \"output\"",
        ),
    ] {
        let file = std::fs::read(data.join(format!("models/{name}.onnx"))).unwrap();
        let sum: String = sha2::Sha256::digest(&file)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let state =
            "\n[state]\ninput = \"state\"\noutput = \"stateN\"\nshape = [2, 1, 128]\ncontext = 32";
        let manifest = |expected: &str| {
            format!(
                "name = \"{name}\"\nlicence = \"MIT\"\nsha256 = \"{sum}\"\nsize = {size}\n{rest}\n\
             [self_test]\nexpected = {expected}\ntolerance = 0.01\n{}",
                if size == 1 { state } else { "" }
            )
        };
        let asked = Plugin::load(&manifest("[1000.0]"), &file, &Limits::default())
            .err()
            .unwrap();
        let PluginError::SelfTest { found, .. } = asked else {
            panic!("{name}: {asked}")
        };
        println!("{name}: self-test {found}");
        let plugin = Plugin::load(
            &manifest(&format!("[{found:?}]")),
            &file,
            &Limits::default(),
        )
        .unwrap();
        let speech = countersign_voice::Audio::from_samples(common::voice("rms-0")).unwrap();
        if size == 2 {
            println!(
                "spoof score of a synthesised voice: {}",
                plugin.spoof(&speech).unwrap()
            );
        } else {
            let loud = plugin
                .speech(&speech)
                .unwrap()
                .iter()
                .copied()
                .fold(0.0, f32::max);
            let keys = plugin
                .speech(&common::dtmf(0.1))
                .unwrap()
                .iter()
                .copied()
                .fold(0.0, f32::max);
            println!("highest: speech {loud}, keys {keys}");
            assert!(loud > 0.8 && keys < 0.5);
        }
    }
}
