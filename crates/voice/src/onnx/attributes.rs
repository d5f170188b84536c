//! What a node says about itself: axes that exist, windows that have a size, nothing hidden in it.
//!
//! The library assumes that attributes make sense. A permutation that is none, for instance, keeps it
//! busy until memory is full.

use std::collections::HashSet;

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::check::{DEEPEST, MOST, constant, refuse};
use super::{Limits, ModelError, within};

/// Most positions of a window that a pooling looks at.
const WIDEST_POOL: u64 = 1024;
/// Most parts that something is split into.
const MOST_PARTS: i64 = 256;

/// Checks all attributes of a node.
pub(super) fn check(node: &NodeProto, limits: &Limits) -> Result<(), ModelError> {
    let mut names = HashSet::new();
    for attribute in &node.attribute {
        if !names.insert(attribute.name.as_str()) {
            return refuse(format!("`{}` has `{}` twice", node.op_type, attribute.name));
        }
        check_kind(node, attribute, limits)?;
        check_numbers(node, attribute)?;
        if attribute.name == "kernel_shape" && node.op_type.ends_with("Pool") {
            let positions = attribute
                .ints
                .iter()
                .map(|extent| extent.unsigned_abs())
                .fold(1, u64::saturating_mul);
            within("positions that a pooling looks at", positions, WIDEST_POOL)?;
        }
    }
    let needs = |name: &str| !names.contains(name);
    if node.op_type.ends_with("Pool")
        && !node.op_type.starts_with("Global")
        && needs("kernel_shape")
    {
        return refuse(format!("`{}` has no `kernel_shape`", node.op_type));
    }
    Ok(())
}

/// Axes that come as an input: each within what a tensor may have, none twice.
pub(super) fn axes(op: &str, values: &[i64]) -> Result<(), ModelError> {
    let deepest = DEEPEST as i64;
    let distinct: HashSet<&i64> = values.iter().collect();
    if distinct.len() == values.len()
        && values.iter().all(|axis| (-deepest..deepest).contains(axis))
    {
        return Ok(());
    }
    refuse(format!("`{op}` has axes that do not exist, or one twice"))
}

fn check_kind(
    node: &NodeProto,
    attribute: &AttributeProto,
    limits: &Limits,
) -> Result<(), ModelError> {
    if attribute.g.is_some() || !attribute.graphs.is_empty() {
        return refuse(format!("`{}` has a graph of its own", node.op_type));
    }
    let unusual = attribute.sparse_tensor.is_some()
        || !attribute.sparse_tensors.is_empty()
        || !attribute.tensors.is_empty()
        || !attribute.type_protos.is_empty()
        || !attribute.ref_attr_name.is_empty();
    if unusual {
        return refuse(format!(
            "`{}` of `{}` is of a kind that is not taken",
            attribute.name, node.op_type
        ));
    }
    match &attribute.t {
        Some(tensor) => constant(tensor, limits).map(|_| ()),
        None => Ok(()),
    }
}

fn check_numbers(node: &NodeProto, attribute: &AttributeProto) -> Result<(), ModelError> {
    let (name, ints) = (attribute.name.as_str(), attribute.ints.as_slice());
    let deepest = DEEPEST as i64;
    let right = match name {
        "perm" => {
            let mut sorted = ints.to_vec();
            sorted.sort_unstable();
            sorted.len() <= DEEPEST && sorted.into_iter().eq(0..ints.len() as i64)
        }
        "axes" => return axes(&node.op_type, ints),
        "axis" => (-deepest..deepest).contains(&attribute.i),
        "start" | "end" if node.op_type == "Shape" => (-deepest..=deepest).contains(&attribute.i),
        "strides" | "dilations" | "kernel_shape" => {
            (1..=DEEPEST).contains(&ints.len())
                && ints.iter().all(|extent| (1..=MOST).contains(extent))
        }
        "pads" => {
            ints.len() <= 2 * DEEPEST && ints.iter().all(|extent| (0..=MOST).contains(extent))
        }
        "group" => (1..=MOST).contains(&attribute.i),
        "num_outputs" => (1..=MOST_PARTS).contains(&attribute.i),
        _ => ints
            .iter()
            .chain([&attribute.i])
            .all(|value| value.unsigned_abs() <= MOST.unsigned_abs()),
    };
    if right {
        Ok(())
    } else {
        refuse(format!("`{name}` of `{}` makes no sense", node.op_type))
    }
}
