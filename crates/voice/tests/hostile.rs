//! Networks that somebody made to do harm, and some that are only broken.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use std::time::Instant;

use countersign_voice::onnx::{Extent, Limits, ModelError, Network, Port};
use countersign_voice::plugin::{Plugin, PluginError, self_test_signal};
use sha2::Digest as _;

/// Fields of protocol buffers, written down by hand.
mod proto {
    pub fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }

    pub fn number(field: u64, value: i64) -> Vec<u8> {
        [varint(field << 3), varint(value as u64)].concat()
    }

    pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [
            varint(field << 3 | 2),
            varint(value.len() as u64),
            value.to_vec(),
        ]
        .concat()
    }

    pub fn text(field: u64, value: &str) -> Vec<u8> {
        bytes(field, value.as_bytes())
    }
}

use proto::{bytes, number, text};

fn tensor(name: &str, kind: i64, extents: &[i64], raw: &[u8]) -> Vec<u8> {
    let mut tensor = Vec::new();
    for extent in extents {
        tensor.extend(number(1, *extent));
    }
    tensor.extend(number(2, kind));
    tensor.extend(text(8, name));
    tensor.extend(bytes(9, raw));
    tensor
}

fn floats(name: &str, extents: &[i64], values: &[f32]) -> Vec<u8> {
    tensor(
        name,
        1,
        extents,
        &values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    tensor(
        name,
        7,
        &[values.len() as i64],
        &values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

fn attribute(name: &str, rest: &[u8]) -> Vec<u8> {
    [text(1, name), rest.to_vec()].concat()
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut node = Vec::new();
    for input in inputs {
        node.extend(text(1, input));
    }
    for output in outputs {
        node.extend(text(2, output));
    }
    node.extend(text(4, op));
    for attribute in attributes {
        node.extend(bytes(5, attribute));
    }
    node
}

fn value(name: &str, extents: &[i64]) -> Vec<u8> {
    let shape: Vec<u8> = extents
        .iter()
        .flat_map(|extent| bytes(1, &number(1, *extent)))
        .collect();
    let kind = [number(1, 1), bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &kind))].concat()
}

/// A graph from `x` [1, 8] to `y`.
fn model(nodes: &[Vec<u8>], constants: &[Vec<u8>]) -> Vec<u8> {
    let mut graph = Vec::new();
    for node in nodes {
        graph.extend(bytes(1, node));
    }
    graph.extend(text(2, "graph"));
    for constant in constants {
        graph.extend(bytes(5, constant));
    }
    graph.extend(bytes(11, &value("x", &[1, 8])));
    graph.extend(bytes(12, &value("y", &[1, 8])));
    [number(1, 8), bytes(7, &graph), bytes(8, &number(2, 17))].concat()
}

fn ports() -> Vec<Port> {
    vec![Port {
        name: "x".into(),
        shape: vec![Extent::Fixed(1), Extent::Fixed(8)],
    }]
}

fn load(file: &[u8]) -> Result<Network, ModelError> {
    Network::load(file, &ports(), &["y"], &Limits::default())
}

fn refusal(nodes: &[Vec<u8>], constants: &[Vec<u8>]) -> String {
    let start = Instant::now();
    let error = load(&model(nodes, constants))
        .err()
        .expect("it is refused")
        .to_string();
    assert!(start.elapsed().as_secs() < 5, "{error}");
    error
}

fn twice() -> Vec<u8> {
    model(&[node("Add", &["x", "x"], &["y"], &[])], &[])
}

#[test]
fn a_harmless_network_runs() {
    let network = load(&twice()).unwrap();
    let input: Vec<f32> = (0..8).map(|n| n as f32).collect();
    assert_eq!(
        network.run(&[&input]).unwrap(),
        vec![input.iter().map(|value| value * 2.0).collect::<Vec<_>>()]
    );
    assert!(matches!(
        network.run(&[&input[..7]]),
        Err(ModelError::Ports(_))
    ));
    assert!(matches!(network.run(&[]), Err(ModelError::Ports(_))));
}

#[test]
fn a_file_that_is_cut_short_is_refused_wherever_it_is_cut() {
    let file = twice();
    for cut in 0..file.len() - 1 {
        // The last field is the version of the operators; without it, it still is a network.
        let loaded = load(&file[..cut]);
        assert!(
            loaded.is_err() || cut + 6 >= file.len(),
            "cut at {cut} of {}",
            file.len()
        );
    }
    let whole = countersign_voice::embed::BUILT_IN;
    let port = Port {
        name: "feats".into(),
        shape: vec![Extent::Fixed(1), Extent::UpTo(100), Extent::Fixed(40)],
    };
    for cut in [0, 1, 1000, whole.len() / 2, whole.len() - 100] {
        assert!(
            Network::load(
                &whole[..cut],
                std::slice::from_ref(&port),
                &["embedding"],
                &Limits::default()
            )
            .is_err()
        );
    }
}

#[test]
fn any_damage_to_a_file_gives_an_error_or_a_network_and_never_a_crash() {
    let file = model(
        &[
            node("MatMul", &["x", "w"], &["a"], &[]),
            node("Relu", &["a"], &["y"], &[]),
        ],
        &[floats("w", &[8, 8], &[0.5; 64])],
    );
    assert!(load(&file).is_ok());
    for at in 0..file.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            if let Ok(network) = load(&damaged) {
                let _ = network.run(&[&[1.0; 8]]);
            }
        }
    }
}

#[test]
fn tensors_that_say_they_are_huge_are_refused() {
    let add = node("Add", &["x", "w"], &["y"], &[]);
    let huge = refusal(
        std::slice::from_ref(&add),
        &[tensor("w", 1, &[1 << 40], &[])],
    );
    assert!(huge.contains("numbers in the tensor `w`"), "{huge}");
    let wraps = refusal(
        std::slice::from_ref(&add),
        &[tensor("w", 1, &[1 << 32, 1 << 32], &[0; 4])],
    );
    assert!(wraps.contains("more than the limit"), "{wraps}");
    let short = refusal(
        std::slice::from_ref(&add),
        &[floats("w", &[1000], &[0.0; 8])],
    );
    assert!(short.contains("other data than its shape says"), "{short}");
    let negative = refusal(&[add], &[floats("w", &[-8], &[0.0; 8])]);
    assert!(negative.contains("negative"), "{negative}");
}

#[test]
fn constants_that_would_grow_while_loading_are_refused() {
    let shape = integers("s", &[1 << 20, 1 << 20]);
    let filled = refusal(
        &[
            node("ConstantOfShape", &["s"], &["c"], &[]),
            node("Add", &["x", "c"], &["y"], &[]),
        ],
        std::slice::from_ref(&shape),
    );
    assert!(filled.contains("more than the limit"), "{filled}");
    let expanded = refusal(
        &[
            node("Expand", &["o", "s"], &["c"], &[]),
            node("Add", &["x", "c"], &["y"], &[]),
        ],
        &[shape, floats("o", &[1], &[1.0])],
    );
    assert!(expanded.contains("more than the limit"), "{expanded}");
    // Two vectors, one upright and one lying, are a square when added.
    let many = 5000;
    let square = refusal(
        &[
            node("Add", &["a", "b"], &["c"], &[]),
            node("Add", &["x", "c"], &["y"], &[]),
        ],
        &[
            floats("a", &[many, 1], &vec![0.0; 5000]),
            floats("b", &[1, many], &vec![0.0; 5000]),
        ],
    );
    assert!(square.contains("more than the limit"), "{square}");
    let product = refusal(
        &[
            node("MatMul", &["a", "b"], &["c"], &[]),
            node("Add", &["x", "c"], &["y"], &[]),
        ],
        &[
            floats("a", &[many, 1], &vec![0.0; 5000]),
            floats("b", &[1, many], &vec![0.0; 5000]),
        ],
    );
    assert!(product.contains("more than the limit"), "{product}");
    let pooled = refusal(
        &[
            node("GlobalMaxPool", &["a"], &["c"], &[]),
            node("Add", &["x", "c"], &["y"], &[]),
        ],
        &[floats("a", &[1, 1, 8], &[0.0; 8])],
    );
    assert!(pooled.contains("nothing but constants"), "{pooled}");
    let computed = refusal(
        &[
            node("Shape", &["x"], &["n"], &[]),
            node("Mul", &["n", "k"], &["s"], &[]),
            node("ConstantOfShape", &["s"], &["c"], &[]),
            node("Add", &["x", "c"], &["y"], &[]),
        ],
        &[integers("k", &[1 << 30, 1 << 30])],
    );
    assert!(computed.contains("a shape that is computed"), "{computed}");
}

#[test]
fn what_depends_on_the_input_may_not_grow_either() {
    let deep = refusal(
        &[node("Expand", &["x", "s"], &["y"], &[])],
        &[integers("s", &[1 << 18, 1 << 18, 1, 8])],
    );
    assert!(deep.contains("more than the limit"), "{deep}");
    let padded = refusal(
        &[node("Pad", &["x", "p"], &["y"], &[])],
        &[integers("p", &[0, 0, 1 << 40, 0])],
    );
    assert!(padded.contains("larger than"), "{padded}");
    let chain: Vec<Vec<u8>> = (0..20)
        .map(|n| {
            let (from, to) = (
                if n == 0 {
                    "x".to_owned()
                } else {
                    format!("t{n}")
                },
                if n == 19 {
                    "y".to_owned()
                } else {
                    format!("t{}", n + 1)
                },
            );
            node(
                "Concat",
                &[&from, &from, &from, &from],
                &[&to],
                &[attribute("axis", &[number(3, 1), number(20, 2)].concat())],
            )
        })
        .collect();
    let doubled = refusal(&chain, &[]);
    assert!(doubled.contains("more than the limit"), "{doubled}");
}

#[test]
fn work_without_end_is_refused() {
    let size = 3000;
    let weights = vec![0.0; 3000 * 3000];
    let limits = Limits {
        multiplications: 10_000_000,
        ..Limits::default()
    };
    let file = model(
        &[
            node("MatMul", &["x", "a"], &["h"], &[]),
            node("MatMul", &["h", "b"], &["y"], &[]),
        ],
        &[
            floats("a", &[8, size], &weights[..8 * 3000]),
            floats("b", &[size, size], &weights),
        ],
    );
    assert!(load(&file).is_ok());
    let limits_small = Limits {
        multiplications: 1_000_000,
        ..limits
    };
    let error = Network::load(&file, &ports(), &["y"], &limits_small)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("multiplications of a run"), "{error}");
    let many: Vec<Vec<u8>> = (0..5000)
        .map(|n| node("Add", &["x", "x"], &[&format!("t{n}")], &[]))
        .collect();
    assert!(refusal(&many, &[]).contains("nodes"));
    let pool = [attribute(
        "kernel_shape",
        &[number(8, 1 << 19), number(20, 7)].concat(),
    )];
    assert!(refusal(&[node("MaxPool", &["x"], &["y"], &pool)], &[]).contains("pooling"));
}

#[test]
fn loops_other_files_and_unknown_operators_are_refused() {
    for op in [
        "Loop",
        "If",
        "Scan",
        "LSTM",
        "RandomNormal",
        "Range",
        "Tile",
        "Resize",
        "NonZero",
        "Made-up",
    ] {
        let error = refusal(&[node(op, &["x"], &["y"], &[])], &[]);
        assert!(error.contains("not on the list"), "{op}: {error}");
    }
    let body = attribute(
        "body",
        &[bytes(6, &text(2, "inner")), number(20, 5)].concat(),
    );
    assert!(refusal(&[node("Relu", &["x"], &["y"], &[body])], &[]).contains("a graph of its own"));
    let mut outside = tensor("w", 1, &[8], &[]);
    outside.extend(bytes(
        13,
        &[text(1, "location"), text(2, "../../etc/passwd")].concat(),
    ));
    outside.extend(number(14, 1));
    assert!(refusal(&[node("Add", &["x", "w"], &["y"], &[])], &[outside]).contains("another file"));
    let circle = [
        node("Add", &["x", "b"], &["a"], &[]),
        node("Add", &["a", "x"], &["b"], &[]),
        node("Relu", &["b"], &["y"], &[]),
    ];
    assert!(refusal(&circle, &[]).contains("nothing before it makes"));
    assert!(
        refusal(&[node("Add", &["x", "nowhere"], &["y"], &[])], &[])
            .contains("nothing before it makes")
    );
    assert!(refusal(&[node("Relu", &["x"], &["z"], &[])], &[]).contains("no output `y`"));
    assert!(refusal(&[node("Relu", &["x"], &["x"], &[])], &[]).contains("defined twice"));
    assert!(refusal(&[], &[floats("y", &[8], &[0.0; 8])]).contains("does not depend on an input"));
}

#[test]
fn inputs_have_to_be_those_that_were_declared() {
    let file = twice();
    let other = vec![Port {
        name: "wave".into(),
        shape: vec![Extent::Fixed(1), Extent::Fixed(8)],
    }];
    let error = Network::load(&file, &other, &["y"], &Limits::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("an input `x` that is not declared"),
        "{error}"
    );
    let more = [ports(), other].concat();
    let error = Network::load(&file, &more, &["y"], &Limits::default())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("1 inputs, 2 are declared"), "{error}");
}

#[test]
fn an_answer_that_is_not_a_number_is_no_answer() {
    let file = model(&[node("Log", &["x"], &["y"], &[])], &[]);
    assert_eq!(
        load(&file).unwrap().run(&[&[-1.0; 8]]),
        Err(ModelError::NotFinite)
    );
}

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

/// Networks of others, if somebody has them.
#[test]
fn networks_of_others_run_by_their_manifests() {
    let Some(data) = common::data() else { return };
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
