//! Networks put together at random from operators that are taken, with attributes and constants that
//! mostly make no sense. Whatever comes of them has to come soon, and as a value.
//!
//! `COUNTERSIGN_VOICE_NETWORKS` asks for more of them than are made every time. This found
//! permutations that are none and a layer norm of a single number, which kept the library busy for
//! ever, and empty constants, from which it read a number that was not there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of #[test] functions"
)]

mod common;

use std::time::Instant;

use common::Dice;
use common::onnx::proto::{number, text};
use common::onnx::{attribute, floats, integers, model, node};
use countersign_voice::onnx::{Extent, Limits, Network, Port};

const OPERATORS: &str = "Abs BatchNormalization Cast Clip Elu Erf Exp Flatten HardSigmoid HardSwish Identity \
    InstanceNormalization LeakyRelu Log LogSoftmax Neg Not Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum \
    Relu Reshape Selu Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Tanh Transpose Unsqueeze Add And Div Equal \
    Greater GreaterOrEqual Less LessOrEqual Max Min Mul Or PRelu Pow Sub Where AveragePool Conv GatherElements Gemm \
    GlobalAveragePool GlobalMaxPool MatMul MaxPool Pad ScatterND TopK Concat ConstantOfShape Expand Gather Shape";
const ATTRIBUTES: &str = "axis axes perm keepdims strides pads dilations kernel_shape group to num_outputs transA transB \
    alpha start end ceil_mode storage_order auto_pad mode epsilon value batch_dims allowzero largest sorted \
    count_include_pad noop_with_empty_axes split";
const WORDS: [&str; 6] = [
    "SAME_UPPER",
    "SAME_LOWER",
    "VALID",
    "reflect",
    "edge",
    "constant",
];
const NUMBERS: [i64; 18] = [
    0,
    1,
    1,
    2,
    3,
    8,
    -1,
    -2,
    4,
    5,
    16,
    1 << 10,
    1 << 20,
    -(1 << 20),
    i64::MAX,
    i64::MIN,
    7,
    40,
];

struct Maker {
    dice: Dice,
}

impl Maker {
    fn below(&mut self, bound: usize) -> usize {
        (self.dice.between(0.0, bound as f32) as usize).min(bound - 1)
    }

    fn one<'a>(&mut self, words: &'a str) -> &'a str {
        let count = words.split_whitespace().count();
        let place = self.below(count);
        words.split_whitespace().nth(place).unwrap()
    }

    fn numbers(&mut self, most: usize) -> Vec<i64> {
        (0..self.below(most + 1))
            .map(|_| NUMBERS[self.below(NUMBERS.len())])
            .collect()
    }

    fn attribute(&mut self) -> Vec<u8> {
        let name = self.one(ATTRIBUTES);
        let value = match self.below(3) {
            0 => [number(3, NUMBERS[self.below(NUMBERS.len())]), number(20, 2)].concat(),
            1 => {
                let list = self
                    .numbers(4)
                    .into_iter()
                    .flat_map(|value| number(8, value));
                list.chain(number(20, 7)).collect()
            }
            _ => [text(4, WORDS[self.below(WORDS.len())]), number(20, 3)].concat(),
        };
        attribute(name, &value)
    }

    fn network(&mut self) -> Vec<u8> {
        let mut names = vec!["x".to_owned()];
        let mut constants = Vec::new();
        for place in 0..3 {
            names.push(format!("i{place}"));
            constants.push(integers(&format!("i{place}"), &self.numbers(4)));
            let extents: Vec<i64> = (0..self.below(4))
                .map(|_| [1, 1, 2, 3, 8][self.below(5)])
                .collect();
            let count = extents.iter().product::<i64>() as usize;
            names.push(format!("f{place}"));
            constants.push(floats(&format!("f{place}"), &extents, &vec![0.5; count]));
        }
        let length = 1 + self.below(5);
        let mut last = "x".to_owned();
        let mut nodes = Vec::new();
        for place in 0..length {
            let mut inputs: Vec<String> = (0..1 + self.below(4))
                .map(|_| names[self.below(names.len())].clone())
                .collect();
            if self.below(3) > 0 {
                inputs[0] = last;
            }
            let output = if place + 1 == length {
                "y".to_owned()
            } else {
                format!("t{place}")
            };
            let attributes: Vec<Vec<u8>> = (0..self.below(4).saturating_sub(1))
                .map(|_| self.attribute())
                .collect();
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            nodes.push(node(self.one(OPERATORS), &inputs, &[&output], &attributes));
            names.push(output.clone());
            last = output;
        }
        model(&nodes, &constants)
    }
}

#[test]
fn networks_put_together_at_random_do_no_harm() {
    let asked = std::env::var("COUNTERSIGN_VOICE_NETWORKS")
        .ok()
        .and_then(|text| text.parse().ok());
    let rounds: u64 = asked.unwrap_or(2000);
    let port = Port {
        name: "x".into(),
        shape: vec![Extent::Fixed(1), Extent::Fixed(8)],
    };
    let mut ran = 0;
    for seed in 0..rounds {
        let file = Maker {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9)),
        }
        .network();
        let start = Instant::now();
        if let Ok(network) = Network::load(
            &file,
            std::slice::from_ref(&port),
            &["y"],
            &Limits::default(),
        ) {
            ran += u32::from(network.run(&[&[0.5; 8]]).is_ok());
        }
        assert!(
            start.elapsed().as_secs() < 20,
            "network {seed} took {:?}",
            start.elapsed()
        );
    }
    println!("{ran} of {rounds} ran");
    assert!(ran > 10, "some have to be networks, or nothing is tested");
}
