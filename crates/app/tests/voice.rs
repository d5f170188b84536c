//! `countersign voice` as somebody types it, on voices of speech synthesisers that were made into people.
#![allow(
    clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable,
    reason = "the helpers of this test crate are outside of #[test] functions, where clippy.toml does not reach"
)]

#[path = "../../voice/tests/common/mod.rs"]
mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use countersign_voice::{Audio, Calibration, Speech, score::Fusion};
use serde_json::Value;

/// A folder for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("countersign-voice-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(fs::canonicalize(folder).unwrap())
    }
    fn name(&self) -> &str { self.0.to_str().unwrap() }
    fn path(&self, name: &str) -> String { self.0.join(name).display().to_string() }
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) { let _ = fs::remove_dir_all(&self.0); }
}

/// The exit code, standard output and standard error.
fn voice(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_countersign")).arg("voice").args(args).output().unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
}

/// 16 bit WAV at any rate.
fn wav(samples: &[f32], rate: u32) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| ((sample * 32767.0) as i16).to_le_bytes()).collect();
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

/// The same at another rate, or, played at the old one, another throat.
fn stretched(samples: &[f32], by: f32) -> Vec<f32> {
    (0..((samples.len() - 1) as f32 * by) as usize).map(|n| {
        let (at, part) = ((n as f32 / by) as usize, (n as f32 / by).fract());
        samples[at] * (1.0 - part) + samples[at + 1] * part
    }).collect()
}

/// One of the synthesised voices as another person.
fn person(number: usize) -> Vec<f32> {
    let voice = common::voice(["rms-0", "kal-0", "espeak-0"][number % 3]);
    stretched(&voice, [1.0, 0.86, 1.17, 0.93][number / 3 % 4])
}

fn take(number: usize, seed: u64) -> Audio { common::again(&person(number), seed) }

/// Twelve people with six calls each of one phrase, in several formats: written once for whoever needs
/// them at the same time, and gone with the last of them.
fn people() -> Arc<Folder> {
    // With their number: the last ones may be about to go while the next are written.
    static PEOPLE: Mutex<(Weak<Folder>, u32)> = Mutex::new((Weak::new(), 0));
    let mut people = PEOPLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = people.0.upgrade() {
        return folder;
    }
    let folder = Arc::new(Folder::new(&format!("people-{}", people.1)));
    for number in 0..12 {
        for seed in 0..6 {
            let audio = take(number, 1000 + number as u64 * 50 + seed);
            let name = format!("person-{number:02}/digits/{seed}.wav");
            match seed {
                0 => folder.write(&name, &wav(&stretched(audio.samples(), 2.0), 16_000)),
                1 => folder.write(&name, &wav(&stretched(audio.samples(), 6.0), 48_000)),
                _ => folder.write(&name, &wav(audio.samples(), 8000)),
            };
        }
    }
    *people = (Arc::downgrade(&folder), people.1 + 1);
    folder
}

#[test]
fn voices_are_told_apart_with_figures_and_a_drawing() {
    let people = people();
    let folder = Folder::new("figures");
    let svg = folder.path("det.svg");
    let (code, out, err) = voice(&["evaluate", people.name(), "--svg", &svg, "--repetitions", "100"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let line = out.lines().find(|line| line.starts_with("same phrase")).unwrap();
    assert!(line.contains("12       36        396"), "{out}");
    assert!(line.contains("396 of 1,000 needed"), "{out}");
    assert!(out.contains("With fewer than thirty people") && !out.contains('\x1b'), "{out}");
    let image = fs::read_to_string(&svg).unwrap();
    assert!(image.contains("<title id=\"t\">") && image.contains("same phrase, 12 people: equal error"), "{image}");

    let (code, json, _) = voice(&["evaluate", people.name(), "--json", "--repetitions", "100"]);
    assert_eq!(code, 0);
    let report: Value = serde_json::from_str(&json).unwrap();
    let kind = &report["kinds"][0];
    assert_eq!((kind["kind"].as_str(), kind["people"].as_u64(), kind["calls"].as_u64(), kind["pairs_of_people"].as_u64()), (Some("same-phrase"), Some(12), Some(72), Some(66)));
    let rate = |name: &str, end: &str| kind["voices"][name][end].as_f64().unwrap();
    let (equal, refused) = (rate("equal_error", "value"), rate("refused_at_1_percent", "value"));
    // Golden, with room for other processors.
    assert!((equal - GOLDEN_EQUAL).abs() < 0.02 && (refused - GOLDEN_REFUSED).abs() < 0.15, "{equal} {refused}");
    assert!(rate("equal_error", "low") <= equal && equal <= rate("equal_error", "high"));
    assert!(kind["voices"]["refused_at_1_permille"].is_null(), "not measured, not claimed");
}

/// Half of these people are the other half's voices at another speed: hard to tell apart.
const GOLDEN_EQUAL: f64 = 0.0556;
const GOLDEN_REFUSED: f64 = 0.667;

#[test]
fn a_calibration_is_made_kept_and_used() {
    let people = people();
    let folder = Folder::new("calibrate");
    let file = folder.path("voice-calibration.json");
    let (code, out, err) = voice(&["calibrate", people.name(), "--false-accepts", "5%", "--condition", "synthesised\x1b[31m", "--out", &file]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("12 people are few") && out.contains("Nothing says which languages"), "{out}");
    let text = fs::read_to_string(&file).unwrap();
    let calibration = Calibration::from_json(&text).unwrap();
    assert_eq!((calibration.speech, calibration.speakers, calibration.calls), (Speech::SamePhrase, 12, 72));
    assert!(calibration.false_accepts.value <= 0.05 && calibration.phrase_threshold.is_some());
    assert!(!text.contains('\u{1b}') && !text.contains("\\u001b"), "nothing that steers a terminal is kept");
    // Again: the same, and it may take its own place.
    assert_eq!(voice(&["calibrate", people.name(), "--false-accepts", "5%", "--condition", "synthesised\x1b[31m", "--out", &file]).0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");

    let of = |number: usize, seed: u64| folder.write(&format!("{number}-{seed}.wav"), &wav(take(number, seed).samples(), 8000));
    let takes = [of(0, 1), of(0, 2), of(0, 3)];
    let judged = |answer: &str, calibration: &[&str]| {
        let mut args = vec!["score", &takes[0], &takes[1], &takes[2], answer];
        args.extend(calibration);
        let (code, out, err) = voice(&args);
        assert_eq!(code, 0, "{out}{err}");
        out
    };
    let right = of(0, 9);
    assert!(judged(&right, &["--calibration", &file]).starts_with("The voice is alike. That is a signal, not a proof."));
    assert!(judged(&right, &[]).starts_with("No verdict: nobody measured"));
    assert!(judged(&of(1, 9), &["--calibration", &file]).starts_with("The "), "words or voice");
    assert!(!judged(&of(1, 9), &["--calibration", &file]).contains("is alike."));
    assert!(judged(&takes[1], &["--calibration", &file]).starts_with("This is a recording of one of the takes"));
    let (code, out, _) = voice(&["score", &takes[0], &takes[0]]);
    assert!(code == 0 && out.contains("one recording twice"), "{out}");
    let (code, _, err) = voice(&["score", &takes[0], &takes[1], &takes[2], &right, "--speech", "free", "--calibration", &file]);
    assert!(code == 1 && err.contains("another kind of speech"), "{err}");
}

#[test]
fn a_network_of_ones_own_is_measured_and_used() {
    let people = people();
    let folder = Folder::new("own");
    let (manifest, file) = common::other_network();
    let speaker = folder.write("own/speaker.toml", manifest.as_bytes());
    folder.write("own/speaker.onnx", &file);
    let out = folder.path("c.json");
    let calibrate = |more: &[&str]| {
        let mut args = vec!["calibrate", people.name(), "--false-accepts", "5%", "--condition", "own", "--speaker", &speaker, "--out", &out];
        args.extend(more);
        voice(&args)
    };
    let (code, said, err) = calibrate(&[]);
    assert!(code == 0 && said.contains("The score is your network alone"), "{said}{err}");
    let alone = Calibration::from_json(&fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!((alone.weights, alone.network.clone()), (Some(Fusion::NETWORK_ALONE), hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&file))));
    // The same is what answers are judged with, and nothing else.
    let of = |seed: u64| folder.write(&format!("0-{seed}.wav"), &wav(take(0, seed).samples(), 8000));
    let takes: Vec<String> = [1, 2, 3, 9].map(of).to_vec();
    let score = |more: &[&str]| {
        let mut args: Vec<&str> = ["score"].into_iter().chain(takes.iter().map(String::as_str)).collect();
        args.extend(["--calibration", &out]);
        args.extend(more);
        voice(&args)
    };
    let (code, said, _) = score(&["--speaker", &speaker]);
    assert!(code == 0 && said.starts_with("The voice is alike.") && said.contains("does not count here"), "{said}");
    let (code, _, err) = score(&[]);
    assert!(code == 1 && err.contains("another network") && err.contains("--speaker"), "{err}");
    let (code, said, _) = voice(&["score", &takes[0], &takes[1], "--speaker", &speaker]);
    assert!(code == 0 && said.contains("What that means with your network"), "{said}");
    // Weights come from other people.
    for number in 0..6 {
        for seed in 0..5 {
            folder.write(&format!("others/other-{number}/digits/{seed}.wav"), &wav(take(number, 5000 + number as u64 * 50 + seed).samples(), 8000));
        }
    }
    let (code, said, err) = calibrate(&["--weights-from", &folder.path("others")]);
    assert!(code == 0 && !said.contains("your network alone"), "{said}{err}");
    let learnt = Calibration::from_json(&fs::read_to_string(&out).unwrap()).unwrap();
    let weights = learnt.weights.unwrap();
    assert!(weights != Fusion::NETWORK_ALONE && weights.embedding > 0.0 && weights.mixture >= 0.0 && weights.distance <= 0.0, "{weights:?}");
    let (code, _, err) = calibrate(&["--weights-from", people.name()]);
    assert!(code == 1 && err.contains("is in both folders"), "{err}");
    // What is no speaker network is not used as one.
    let spoof = folder.write("own/spoof.toml", manifest.replacen("\"embedding\"", "\"spoof\"\ngenuine = 1", 1).as_bytes());
    folder.write("own/spoof.onnx", &file);
    let (code, _, err) = voice(&["evaluate", people.name(), "--speaker", &spoof]);
    assert!(code == 1 && err.contains("for something else"), "{err}");
    fs::write(folder.path("own/speaker.onnx"), &file[..file.len() - 1]).unwrap();
    let (code, _, err) = calibrate(&[]);
    assert!(code == 1 && err.contains("the manifest says"), "{err}");
}

/// A network that gives back its first eight samples: whoever puts a number there is synthetic by so much.
fn spoof_model(folder: &Folder, name: &str, more: &[u8]) -> String {
    use sha2::Digest as _;
    let mut network = common::onnx::twice();
    network.extend(more);
    let expected: Vec<f32> = countersign_voice::plugin::self_test_signal().samples()[..8].iter().map(|sample| sample * 2.0).collect();
    folder.write(&format!("models/{name}.onnx"), &network);
    folder.write(&format!("models/{name}.toml"), format!(
        "kind = \"spoof\"\nname = \"test\"\nlicence = \"Apache-2.0\"\nsha256 = \"{}\"\nfeatures = \"samples\"\nsample_rate = 8000\ninput = \"x\"\n\
         length = 8\noutput = \"y\"\nsize = 8\ngenuine = 0\n[self_test]\nexpected = {expected:?}\ntolerance = 1e-5\n",
        hex::encode(sha2::Sha256::digest(&network)),
    ).as_bytes())
}

fn marked(audio: &Audio, by: f32) -> Vec<f32> { [0.0, by, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].iter().chain(&audio.samples()[8..]).copied().collect() }

#[test]
fn a_model_for_synthetic_speech_gets_a_threshold_and_a_word_about_it() {
    let folder = Folder::new("spoof");
    let model = spoof_model(&folder, "ours", &[]);
    let calls = folder.path("calls");
    for number in 0..12 {
        for seed in 0..6 {
            folder.write(&format!("calls/person-{number:02}/digits/{seed}.wav"), &wav(take(number, 1000 + number as u64 * 50 + seed).samples(), 8000));
        }
    }
    let out = folder.path("c.json");
    let calibrate = |more: &[&str]| {
        let mut args = vec!["calibrate", &calls, "--false-accepts", "5%", "--condition", "tests", "--out", &out];
        args.extend(more);
        voice(&args)
    };
    let kept = || Calibration::from_json(&fs::read_to_string(&out).unwrap()).unwrap();
    // The usual ceiling takes 150 calls, and there are 72: nothing is written rather than a number that nobody measured.
    let (code, said, _) = calibrate(&["--synthetic", &model]);
    assert!(code == 1 && said.contains("72 calls of people for 2.0% false alarms") && said.contains("150 are needed: record 78 more") && said.contains("--false-alarms 4.2%"), "{said}");
    assert!(!Path::new(&out).exists());
    // Nothing synthetic: a quantile of people's scores, and that is said.
    let (code, said, err) = calibrate(&["--synthetic", &model, "--false-alarms", "5%"]);
    assert!(code == 0 && said.contains("none that is synthetic or replayed") && said.contains("nobody knows whether anything synthetic does") && !said.contains("found, %"), "{said}{err}");
    let alone = kept();
    let spoof = alone.spoof.clone().unwrap();
    assert_eq!((spoof.genuine, spoof.people, spoof.spoofed, spoof.caught), (72, 12, 0, None));
    assert!(spoof.false_alarms.value > 0.0 && spoof.false_alarms.value <= 0.05, "{spoof:?}");
    // With some of two makers: as labelled by folders, and by a list.
    for seed in 0..4 {
        folder.write(&format!("calls/spoof/espeak/{seed}.wav"), &wav(&marked(&take(2, 7000 + seed), 0.6), 8000));
        folder.write(&format!("calls/spoof/loudspeaker/{seed}.wav"), &wav(&marked(&take(1, 7100 + seed), 0.5), 8000));
    }
    folder.write("calls/spoof/silent.wav", &wav(&[0.0; 16_000], 8000));
    let (code, said, err) = calibrate(&["--synthetic", &model, "--false-alarms", "5%"]);
    assert!(code == 0 && said.contains("8 that are synthetic or replayed, by 2") && said.contains("Synthetic speech by 2 only"), "{said}{err}");
    assert!(err.contains("spoof/silent.wav: silence"), "{err}");
    let with = kept();
    let spoof = with.spoof.clone().unwrap();
    let caught = spoof.caught.unwrap();
    assert_eq!((spoof.spoofed, spoof.makers, spoof.false_alarms.value, caught.value, caught.low), (8, 2, 0.0, 1.0, 0.625));
    assert!(with.spoof_threshold > alone.spoof_threshold && with.spoof_threshold < Some(1.0), "{:?}", with.spoof_threshold);
    assert_eq!((with.threshold, with.speakers, with.calls), (alone.threshold, 12, 72), "nobody's voice is compared with it");
    let list: String = (0..12).flat_map(|number| (0..6).map(move |seed| format!("person-{number:02},digits,same-phrase,person-{number:02}/digits/{seed}.wav,\n"))).collect();
    let list = folder.write("list.csv", format!("speaker,phrase,kind,file,role\n{list}espeak,,same-phrase,spoof/espeak/0.wav,spoof\nloudspeaker,,free,spoof/loudspeaker/1.wav,spoof\n").as_bytes());
    let (code, said, err) = calibrate(&["--synthetic", &model, "--false-alarms", "5%", "--list", &list]);
    assert!(code == 0 && said.contains("2 that are synthetic or replayed, by 2"), "{said}{err}");
    // What the threshold is good for, and not for another model.
    calibrate(&["--synthetic", &model, "--false-alarms", "5%"]);
    let of = |name: &str, samples: &[f32]| folder.write(name, &wav(samples, 8000));
    let takes: Vec<String> = (1..4).map(|seed| of(&format!("{seed}.wav"), take(0, seed).samples())).collect();
    let score = |answer: &str, model: &str| voice(&["score", &takes[0], &takes[1], &takes[2], answer, "--calibration", &out, "--synthetic", model]);
    let (code, said, err) = score(&of("made.wav", &marked(&take(0, 9), 0.6)), &model);
    assert!(code == 0 && said.starts_with("A network takes this for synthetic speech.") && said.contains("synthetic from"), "{said}{err}");
    let (code, said, _) = score(&of("said.wav", &marked(&take(0, 9), 0.0)), &model);
    assert!(code == 0 && said.starts_with("The voice is alike."), "{said}");
    let other = spoof_model(&folder, "other", &common::onnx::proto::text(2, "another producer"));
    let (code, _, err) = score(&takes[0], &other);
    assert!(code == 1 && err.contains("no threshold for this model"), "{err}");
    // A model that finds none of them is not given a threshold.
    for seed in 0..4 {
        for maker in ["espeak", "loudspeaker"] {
            folder.write(&format!("calls/spoof/{maker}/{seed}.wav"), &wav(&marked(&take(2, 7000 + seed), -0.5), 8000));
        }
    }
    let before = fs::read_to_string(&out).unwrap();
    let (code, _, err) = calibrate(&["--synthetic", &model, "--false-alarms", "5%"]);
    assert!(code == 1 && err.contains("finds no more of the synthetic recordings"), "{err}");
    assert_eq!(fs::read_to_string(&out).unwrap(), before);
    // Without a model nobody listens to them, and that is said; nor are they people.
    let (code, said, err) = calibrate(&[]);
    assert!(code == 0 && err.contains("9 recordings in which nobody speaks") && !said.contains("Synthetic"), "{said}{err}");
    assert_eq!((kept().spoof, kept().spoof_threshold, kept().version), (None, None, 2));
    let (code, said, err) = voice(&["evaluate", &calls, "--repetitions", "100"]);
    assert!(code == 0 && err.contains("nobody speaks") && said.starts_with("72 calls were good enough"), "{said}{err}");
    let (code, _, err) = calibrate(&["--false-alarms", "5%"]);
    assert!(code == 2 && err.contains("--synthetic"), "{err}");
    let (code, _, err) = calibrate(&["--synthetic", &folder.write("models/speaker.toml", fs::read_to_string(&model).unwrap().replacen("\"spoof\"", "\"embedding\"", 1).as_bytes())]);
    assert!(code == 1 && err.contains("models/speaker"), "{err}");
}

#[test]
fn what_cannot_be_shown_is_not_calibrated() {
    let people = people();
    let folder = Folder::new("few");
    let file = folder.path("c.json");
    let calibrate = |share: &str, out: &str| voice(&["calibrate", people.name(), "--false-accepts", share, "--condition", "tests", "--out", out]);
    let (code, out, _) = calibrate("1%", &file);
    assert_eq!(code, 1);
    assert!(out.contains("12 people who say the same phrase make 66 pairs") && out.contains("300 are needed: record 13 more, 25 in all") && out.contains("4.6% can be shown"), "{out}");
    assert!(!Path::new(&file).exists());
    let other = folder.write("countersign.toml", b"[company]\n");
    let (code, _, err) = calibrate("5%", &other);
    assert!(code == 1 && err.contains("something else than a calibration"), "{err}");
    assert_eq!(fs::read(&other).unwrap(), b"[company]\n");
    for share in ["0%", "60%", "x"] {
        assert_eq!(calibrate(share, &file).0, 2, "{share}");
    }
}

#[test]
fn a_hostile_folder_is_named_line_by_line_and_the_rest_goes_on() {
    let folder = Folder::new("hostile");
    let outside = Folder::new("outside");
    let secret = outside.write("secret.wav", &wav(take(0, 1).samples(), 8000));
    for number in 0..3 {
        for seed in 0..5 {
            folder.write(&format!("p{number}/{seed}.ul"), &mulaw(take(number, 300 + seed).samples()));
        }
    }
    std::os::unix::fs::symlink(&secret, folder.0.join("p0/link.wav")).unwrap();
    std::os::unix::fs::symlink(&outside.0, folder.0.join("linked")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.0.join("p0/pipe.wav")).status().unwrap().success());
    fs::File::create(folder.0.join("p1/huge.wav")).unwrap().set_len(40 << 30).unwrap();
    folder.write("p1/short.wav", &wav(&take(1, 1).samples()[..80], 8000));
    folder.write("p1/text.wav", b"dear all, please find the recording attached");
    folder.write("p1/empty.wav", b"");
    folder.write("p1/silent.wav", &wav(&[0.0; 16_000], 8000));
    folder.write("p1/notes.txt", b"x");
    folder.write("p2/stereo.wav", &{
        let mut file = wav(take(2, 1).samples(), 8000);
        file[22] = 2;
        file
    });
    folder.write("p2/float.wav", &{
        let mut file = wav(take(2, 1).samples(), 8000);
        (file[20], file[34]) = (3, 32);
        file.extend(f32::NAN.to_le_bytes());
        file
    });
    folder.write("p2/cut.wav", &wav(take(2, 1).samples(), 8000)[..30]);
    folder.write("p2/\u{1b}[31mred\u{202e}.wav", b"not sound");
    folder.write("p2/copy.ul", &mulaw(take(2, 300).samples()));
    folder.write("p2/deep/deeper/x.wav", b"x");
    folder.write("stray.wav", b"x");
    let (code, out, err) = voice(&["evaluate", &folder.path(""), "--repetitions", "100"]);
    assert_eq!(code, 0, "{out}{err}");
    for (file, why) in [
        ("p0/link.wav", "is a link"), ("linked", "is a link"), ("p0/pipe.wav", "is not a file"), ("p1/huge.wav", "has 40960 MB"), ("p1/short.wav", "silence"),
        ("p1/text.wav", "no RIFF/WAVE"), ("p1/empty.wav", "is empty"), ("p1/silent.wav", "silence"), ("p1/notes.txt", "neither .wav"),
        ("p2/stereo.wav", "2 channels"), ("p2/float.wav", "WAV format 3"), ("p2/cut.wav", "not a WAV file"), ("red", "shorter than a header"),
        ("p2/copy.ul", "once more"), ("p2/deep/deeper", "too deep"), ("stray.wav", "belongs to nobody"),
    ] {
        assert!(err.lines().any(|line| line.contains(file) && line.contains(why)), "{file} {why}:\n{err}");
    }
    assert!(!err.contains("\u{1b}[31mred") && !err.contains('\u{202e}'), "names cannot steer a terminal");
    assert!(!err.contains("secret"), "nothing outside is named");
    assert!(out.starts_with("15 calls were good enough") || out.starts_with("16 calls were good enough"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("free speech") && line.contains("6         14")), "{out}");
    // A list that leads outside.
    let list = folder.write("calls.csv", format!("speaker,kind,file\np0,free,../{}/secret.wav\np0,free,{secret}\np0,free,linked/secret.wav\np0,spoken,p0/0.ul\np0,free,p0/0.ul,x\np0,free,p0/0.ul\np1,free,p0/0.ul\n", outside.0.file_name().unwrap().to_string_lossy()).as_bytes());
    let (code, _, err) = voice(&["evaluate", &folder.path("")]);
    assert_eq!(code, 1, "{err}");
    for (line, why) in [("line 2", "within the folder"), ("line 3", "within the folder"), ("linked/secret.wav", "is a link"), ("line 5", "`kind` is"), ("line 6", "4 fields"), ("line 8", "already in the list")] {
        assert!(err.lines().any(|text| text.contains(line) && text.contains(why)), "{line}: {err}");
    }
    fs::write(&list, "speaker,kind,path\n").unwrap();
    let (code, _, err) = voice(&["evaluate", &folder.path("")]);
    assert!(code == 1 && err.contains("a column path"), "{err}");
}

/// To mu-law, by looking for the nearest.
fn mulaw(samples: &[f32]) -> Vec<u8> {
    let table: Vec<(i32, u8)> = (0..=255).map(|byte| (i32::from(countersign_voice::audio::mulaw(byte)), byte)).collect();
    samples.iter().map(|sample| table.iter().min_by_key(|(value, _)| (value - (sample * 32768.0) as i32).abs()).unwrap().1).collect()
}

#[test]
fn one_recording_is_explained() {
    let folder = Folder::new("quality");
    let good = folder.write("good.wav", &wav(take(0, 1).samples(), 8000));
    let (code, out, _) = voice(&["quality", &good]);
    assert!(code == 0 && out.contains("speech in it, s") && out.contains("Good enough for an answer"), "{out}");
    let silent = folder.write("silent.wav", &wav(&[0.0; 16_000], 8000));
    let (code, out, _) = voice(&["quality", &silent]);
    assert!(code == 1 && out.contains("Not good enough: silence"), "{out}");
    let (code, _, err) = voice(&["quality", &folder.path("nothing.wav")]);
    assert!(code == 1 && err.contains("nothing.wav"), "{err}");
}

#[test]
fn a_network_is_checked_before_anybody_relies_on_it() {
    let folder = Folder::new("models");
    let network = common::onnx::twice();
    let expected: Vec<f32> = countersign_voice::plugin::self_test_signal().samples()[..8].iter().map(|sample| sample * 2.0).collect();
    let manifest = |expected: &str, input: &str| {
        use sha2::Digest as _;
        format!(
            "kind = \"embedding\"\nname = \"test\"\nlicence = \"Apache-2.0\"\nsha256 = \"{}\"\nfeatures = \"samples\"\nsample_rate = 8000\n\
             input = \"{input}\"\nlength = 8\noutput = \"y\"\nsize = 8\n[self_test]\nexpected = {expected}\ntolerance = 1e-5\n",
            hex::encode(sha2::Sha256::digest(&network)),
        )
    };
    folder.write("m.onnx", &network);
    let check = |text: &str| {
        let path = folder.write("m.toml", text.as_bytes());
        voice(&["models", "check", &path])
    };
    let (code, out, err) = check(&manifest(&format!("{expected:?}"), "x"));
    assert!(code == 0 && out.contains("test would be used") && out.contains("8 numbers for three seconds"), "{out}{err}");
    let (code, out, _) = check(&manifest("[5.0]", "x"));
    assert!(code == 1 && out.contains("self-test: number 0 is"), "{out}");
    let (code, out, _) = check("kind = \"oracle\"\n");
    assert!(code == 1 && out.contains("manifest:"), "{out}");
    assert_eq!(check(&manifest(&format!("{expected:?}"), "other")).0, 1);
    folder.write("m.onnx", b"not a network");
    let (code, out, _) = check(&manifest(&format!("{expected:?}"), "x"));
    assert!(code == 1 && out.contains("SHA-256"), "{out}");
    fs::File::create(folder.0.join("m.onnx")).unwrap().set_len(1 << 40).unwrap();
    let (code, _, err) = check(&manifest("[5.0]", "x"));
    assert!(code == 1 && err.contains("MB, 64 are the most"), "{err}");
    fs::remove_file(folder.0.join("m.onnx")).unwrap();
    assert!(check(&manifest("[5.0]", "x")).2.contains("m.onnx"));
}

/// The figures of docs/voice.md, on recordings that are not part of the project.
#[test]
#[ignore = "needs recordings of people: COUNTERSIGN_VOICE_DATA, as `cargo xtask test` runs it"]
fn people_are_told_apart_as_docs_say() {
    let data = common::data();
    let folder = Folder::new("docs");
    let manifest = fs::read_to_string(data.join("data_so762_cc-by-4.0_manifest.csv")).unwrap();
    let rows = manifest.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row[1] == "A");
    let list: String = rows.map(|row| format!("{},free,{},{}\n", row[2], row[0], row[3])).collect();
    let list = folder.write("clean.csv", format!("speaker,kind,file,role\n{list}").as_bytes());
    let (code, json, err) = voice(&["evaluate", &data.display().to_string(), "--list", &list, "--json", "--repetitions", "100"]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&json).unwrap();
    let rate = |name: &str| report["kinds"][0]["voices"][name]["value"].as_f64().unwrap();
    println!("{} {}", rate("equal_error"), rate("refused_at_1_percent"));
    assert!((rate("equal_error") - 0.043).abs() < 0.005 && (rate("refused_at_1_percent") - 0.17).abs() < 0.02);
}
