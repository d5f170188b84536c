//! The numbers are those the models were trained with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use countersign_voice::Audio;
use countersign_voice::audio::{alaw, mulaw};
use countersign_voice::embed::{BUILT_IN, BUILT_IN_SHA256, Embedder};
use countersign_voice::frontend::Frontend;
use countersign_voice::gmm::Background;
use countersign_voice::onnx::{Extent, Limits, Network, Port};
use countersign_voice::phrase::distances;
use serde::Deserialize;
use sha2::Digest as _;

#[derive(Deserialize)]
struct Reference {
    mel_frames: usize,
    mel_frame_50: Vec<f32>,
    cepstra_frames: usize,
    cepstra_frame_20: Vec<f32>,
    embedding: Vec<f32>,
    log_likelihood: f32,
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn features_and_scores_are_those_of_numpy_and_onnx_runtime() {
    let frontend = Frontend::new();
    let embedder = Embedder::built_in().unwrap();
    let background = Background::built_in().unwrap();
    let values: BTreeMap<String, Reference> =
        serde_json::from_str(include_str!("data/reference.json")).unwrap();
    assert_eq!(values.len(), 4);
    for (name, expected) in values {
        let audio = Audio::from_samples(common::voice(name.trim_end_matches(".ul"))).unwrap();
        let mel = frontend.log_mel(&audio);
        assert_eq!(mel.len(), expected.mel_frames);
        assert!(
            apart(&mel.0[50], &expected.mel_frame_50) < 1e-3,
            "{name}: mel"
        );
        let cepstra = frontend.cepstra(&audio);
        assert_eq!(cepstra.len(), expected.cepstra_frames);
        assert!(
            apart(&cepstra.0[20], &expected.cepstra_frame_20) < 1e-3,
            "{name}: cepstra"
        );
        let embedding = embedder.embed(&frontend, &audio).unwrap().unwrap();
        let far = apart(embedding.values(), &expected.embedding);
        assert!(far < 1e-5, "{name}: embedding {far}");
        let likelihood = background.log_likelihood(&cepstra).unwrap();
        assert!(
            (likelihood - expected.log_likelihood).abs() < 1e-3,
            "{name}: {likelihood}"
        );
    }
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
#[ignore = "needs recordings of people: COUNTERSIGN_VOICE_DATA, as `cargo xtask test` runs it"]
fn real_voices_give_the_values_recorded_when_the_network_was_trained() {
    let data = common::data();
    let golden = data.join("golden");
    let frontend = Frontend::new();
    let embedder = Embedder::built_in().unwrap();
    let background = Background::built_in().unwrap();
    let classical: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden.join("classical.json")).unwrap()).unwrap();
    // The network before its weights were rounded.
    let file = std::fs::read(data.join("models/spk_tdnn_m2.onnx")).unwrap();
    let shape = vec![Extent::Fixed(1), Extent::UpTo(2000), Extent::Fixed(40)];
    let ports = [Port {
        name: "feats".into(),
        shape,
    }];
    let exact = Network::load(&file, &ports, &["embedding"], &Limits::default()).unwrap();
    for name in ["g0", "g1", "g2", "g3"] {
        let audio =
            Audio::from_mulaw(&std::fs::read(golden.join(format!("{name}.ul"))).unwrap()).unwrap();
        let mel: Vec<f32> = frontend.raw_log_mel(&audio).into_iter().flatten().collect();
        let far = apart(&mel, &floats(&golden.join(format!("{name}.logmel.f32"))));
        assert!(far < 2e-3, "{name}: mel {far}");
        let cepstra = frontend.cepstra(&audio);
        let far = apart(
            cepstra.0.as_flattened(),
            &floats(&golden.join(format!("{name}.mfcc38.f32"))),
        );
        assert!(far < 2e-3, "{name}: cepstra {far}");
        assert_eq!(
            cepstra.len() as u64,
            classical[name]["mfcc_frames"].as_u64().unwrap()
        );
        let embedding = embedder.embed(&frontend, &audio).unwrap().unwrap();
        let far = apart(
            embedding.values(),
            &floats(&golden.join(format!("{name}.emb.f32"))),
        );
        let exact = exact
            .run(&[frontend.log_mel(&audio).0.as_flattened()])
            .unwrap();
        let exact = apart(&exact[0], &floats(&golden.join(format!("{name}.emb.f32"))));
        assert!(exact < 1e-5, "{name}: embedding {exact}");
        // The shipped network has its weights in 16 bits.
        assert!(far < 1e-3, "{name}: embedding {far}");
        println!("{name}: embedding within {far:.1e}");
        let likelihood = f64::from(background.log_likelihood(&cepstra).unwrap());
        assert!((likelihood - classical[name]["ubm_avg_loglik"].as_f64().unwrap()).abs() < 1e-3);
    }
    let load = |path: &serde_json::Value| {
        let bytes = std::fs::read(data.join(path.as_str().unwrap())).unwrap();
        frontend.cepstra(&Audio::from_mulaw(&bytes).unwrap())
    };
    let trial = &classical["trial"];
    let enrolled: Vec<_> = trial["enrol"]
        .as_array()
        .unwrap()
        .iter()
        .map(load)
        .collect();
    let adapted = background.adapt(&enrolled);
    // Not every recording of the list is in the folder.
    let there = |test: &&serde_json::Value| data.join(test["test"].as_str().unwrap()).exists();
    for test in trial["tests"].as_array().unwrap().iter().filter(there) {
        let take = load(&test["test"]);
        let near = |found: f32, name: &str| {
            let expected = test[name].as_f64().unwrap();
            assert!(
                (f64::from(found) - expected).abs() < 1e-3,
                "{name}: {found} for {expected}"
            );
        };
        near(background.ratio(&adapted, &take).unwrap(), "gmm_llr");
        let distances = distances(&take, &enrolled).unwrap();
        near(distances.mean, "dtw_mean");
        near(distances.least, "dtw_min");
    }
}

#[test]
fn the_shipped_network_is_the_one_it_says() {
    assert_eq!(
        <[u8; 32]>::from(sha2::Sha256::digest(BUILT_IN)),
        BUILT_IN_SHA256
    );
}

/// ITU-T G.711, tables 1a, 1b, 2a and 2b: ends and middles of both laws, scaled to 16 bits.
#[test]
fn both_laws_decode_as_the_standard_says() {
    for (byte, sample) in [
        (0xff, 0),
        (0x7f, 0),
        (0x80, 32124),
        (0x00, -32124),
        (0xfe, 8),
        (0xf0, 120),
        (0xef, 132),
    ] {
        assert_eq!(mulaw(byte), sample, "mu-law {byte:#x}");
    }
    for (byte, sample) in [
        (0xd5, 8),
        (0x55, -8),
        (0xaa, 32256),
        (0x2a, -32256),
        (0xd4, 24),
        (0xc5, 264),
    ] {
        assert_eq!(alaw(byte), sample, "A-law {byte:#x}");
    }
}

#[test]
fn wav_files_of_a_telephone_are_read_and_others_are_named() {
    let wav = |format: u16, channels: u16, rate: u32, bits: u16, data: &[u8]| {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        file.extend(format.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend([0; 6]);
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    };
    let pcm = Audio::from_wav(&wav(1, 1, 8000, 16, &[0, 0x40, 0, 0xc0])).unwrap();
    assert_eq!(pcm.samples(), [0.5, -0.5]);
    assert_eq!(
        Audio::from_wav(&wav(7, 1, 8000, 8, &[0xff]))
            .unwrap()
            .samples(),
        [0.0]
    );
    assert_eq!(
        Audio::from_wav(&wav(6, 1, 8000, 8, &[0xd5, 0x55]))
            .unwrap()
            .samples()
            .len(),
        2
    );
    // A tone of 1 kHz stays, one of 6 kHz goes, at any rate, and nothing is longer than it was.
    for rate in [11_025u32, 16_000, 22_050, 44_100, 48_000] {
        let tone = |hertz: f32| {
            let sample = |n: u32| {
                (8000.0 * (std::f32::consts::TAU * hertz * n as f32 / rate as f32).sin()) as i16
            };
            let data: Vec<u8> = (0..rate).flat_map(|n| sample(n).to_le_bytes()).collect();
            Audio::from_wav(&wav(1, 1, rate, 16, &data)).unwrap()
        };
        let kept = tone(1000.0);
        assert_eq!(kept.samples().len(), 8000, "{rate}");
        // A quarter of a period at 8000 Hz is two samples; the ends are where the window is cut off.
        for n in (104..7900).step_by(8) {
            let expected = 8000.0 / 32768.0;
            assert!(
                (kept.samples()[n + 2] - expected).abs() < 0.01,
                "{rate} {n}"
            );
            assert!(kept.samples()[n].abs() < 0.01, "{rate} {n}");
        }
        if rate > 12_000 {
            let loudest = tone(6000.0).samples()[100..7900]
                .iter()
                .fold(0.0f32, |most, sample| most.max(sample.abs()));
            assert!(loudest < 0.005, "{rate}: {loudest}");
        }
    }
    let minutes = vec![0; 48_000 * 2 * 61];
    assert!(matches!(
        Audio::from_wav(&wav(1, 1, 48_000, 16, &minutes)),
        Err(countersign_voice::AudioError::TooLong { samples: 488_000 })
    ));
    assert!(Audio::from_wav(&wav(1, 1, 48_001, 16, &[0; 8])).is_err());
    assert!(Audio::from_wav(&wav(3, 1, 8000, 32, &f32::NAN.to_le_bytes())).is_err());
    let stereo = Audio::from_wav(&wav(1, 2, 44_100, 16, &[]))
        .unwrap_err()
        .to_string();
    assert!(stereo.contains("2 channels, 44100 Hz"), "{stereo}");
    for cut in 0..wav(1, 1, 8000, 16, &[0; 8]).len() - 8 {
        assert!(
            Audio::from_wav(&wav(1, 1, 8000, 16, &[0; 8])[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    // A size that would wrap around.
    let mut huge = b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff".to_vec();
    huge.extend([0; 8]);
    assert!(Audio::from_wav(&huge).is_err());
}
