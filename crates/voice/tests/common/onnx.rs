//! Networks written down by hand, byte by byte.

#![allow(dead_code, reason = "each test uses some of it")]

/// Fields of protocol buffers, written down by hand.
pub mod proto {
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

pub fn tensor(name: &str, kind: i64, extents: &[i64], raw: &[u8]) -> Vec<u8> {
    let mut tensor = Vec::new();
    for extent in extents {
        tensor.extend(number(1, *extent));
    }
    tensor.extend(number(2, kind));
    tensor.extend(text(8, name));
    tensor.extend(bytes(9, raw));
    tensor
}

pub fn floats(name: &str, extents: &[i64], values: &[f32]) -> Vec<u8> {
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

pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
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

pub fn attribute(name: &str, rest: &[u8]) -> Vec<u8> {
    [text(1, name), rest.to_vec()].concat()
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
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

pub fn value(name: &str, extents: &[i64]) -> Vec<u8> {
    let shape: Vec<u8> = extents
        .iter()
        .flat_map(|extent| bytes(1, &number(1, *extent)))
        .collect();
    let kind = [number(1, 1), bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &kind))].concat()
}

/// A graph from `x` [1, 8] to `y`.
pub fn model(nodes: &[Vec<u8>], constants: &[Vec<u8>]) -> Vec<u8> {
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

pub fn twice() -> Vec<u8> {
    model(&[node("Add", &["x", "x"], &["y"], &[])], &[])
}
