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

use common::onnx::proto::{bytes, number, text};
use common::onnx::{attribute, floats, integers, model, node, tensor, twice};

use countersign_voice::onnx::{Extent, Limits, ModelError, Network, Port};

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
        steps: 11_000_000,
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
        steps: 1_000_000,
        ..limits
    };
    let error = Network::load(&file, &ports(), &["y"], &limits_small)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("steps of a run"), "{error}");
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

/// Whatever comes of these, it comes soon, and as a value.
#[test]
fn attributes_that_make_no_sense_do_no_harm() {
    let ints = |name: &str, values: &[i64]| {
        let list: Vec<u8> = values.iter().flat_map(|value| number(8, *value)).collect();
        attribute(name, &[list, number(20, 7)].concat())
    };
    let int = |name: &str, value: i64| attribute(name, &[number(3, value), number(20, 2)].concat());
    let shape = integers("s", &[1, 1, 8]);
    let kernel = floats("k", &[1, 1, 3], &[1.0; 3]);
    let most = 1 << 20;
    let convolutions = [
        vec![ints("strides", &[0])],
        vec![ints("strides", &[-1])],
        vec![ints("dilations", &[most])],
        vec![ints("dilations", &[0])],
        vec![ints("pads", &[most, most])],
        vec![ints("pads", &[-most, -most])],
        vec![ints("kernel_shape", &[most])],
        vec![int("group", 0)],
        vec![int("group", most)],
        vec![ints("pads", &[1])],
    ];
    let mut files: Vec<Vec<u8>> = convolutions
        .iter()
        .map(|attributes| {
            let reshaped = node("Reshape", &["x", "s"], &["r"], &[]);
            model(
                &[reshaped, node("Conv", &["r", "k"], &["y"], attributes)],
                &[shape.clone(), kernel.clone()],
            )
        })
        .collect();
    for (op, attributes) in [
        ("Transpose", vec![ints("perm", &[0, 0])]),
        ("Transpose", vec![ints("perm", &[9, -9])]),
        ("Softmax", vec![int("axis", 99)]),
        ("Softmax", vec![int("axis", -99)]),
        ("Concat", vec![int("axis", 7)]),
        ("Flatten", vec![int("axis", 7)]),
        ("ReduceMean", vec![ints("axes", &[5, -5])]),
        ("MaxPool", vec![ints("kernel_shape", &[])]),
        ("Cast", vec![int("to", 77)]),
        ("Split", vec![int("num_outputs", most)]),
        ("Shape", vec![int("start", most)]),
    ] {
        files.push(model(&[node(op, &["x"], &["y"], &attributes)], &[]));
    }
    for (op, values) in [
        ("Reshape", vec![-1, -1]),
        ("Reshape", vec![most, most]),
        ("Reshape", vec![0, -2]),
        ("Slice", vec![i64::MAX, i64::MIN]),
        ("Expand", vec![-1, 8]),
        ("Pad", vec![most, most, most, most]),
        ("Pad", vec![-9, 0, 0, -9]),
        ("TopK", vec![most]),
        ("Gather", vec![i64::MAX, -100]),
        ("Unsqueeze", vec![99]),
        ("Squeeze", vec![1]),
    ] {
        files.push(model(
            &[node(
                op,
                &["x", "v", "v", "v", "v"][..if op == "Slice" { 5 } else { 2 }],
                &["y"],
                &[],
            )],
            &[integers("v", &values)],
        ));
    }
    for (place, file) in files.iter().enumerate() {
        let start = Instant::now();
        if let Ok(network) = load(file) {
            let _ = network.run(&[&[1.0; 8]]);
        }
        assert!(
            start.elapsed().as_secs() < 10,
            "file {place} took {:?}",
            start.elapsed()
        );
    }
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
