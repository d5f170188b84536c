//! What is read from a file before the library that runs it may see it.
//!
//! The library computes whatever depends on nothing but constants while it loads, so a few bytes could
//! ask for terabytes. Here every constant is followed through the graph by its size alone.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, type_proto};

use super::{Limits, ModelError, Port, attributes, within};

/// Largest extent, pad, stride or repetition that a graph may write down.
pub(super) const MOST: i64 = 1 << 20;
/// Integer constants up to this length are followed by value: they are shapes.
const LONGEST_SHAPE: usize = 64;
/// Most extents of a tensor.
pub(super) const DEEPEST: usize = 8;

/// Numbers of `TensorProto.DataType`.
const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;
const BOOL: i32 = 9;
const FLOAT16: i32 = 10;

/// Operators whose answer is as large as their first input, or smaller. `LayerNormalization` is not among
/// them: of a single number, the library never comes back from it.
const SHRINKING: &[&str] = &[
    "Abs",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Neg",
    "Not",
    "Reciprocal",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Selu",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Squeeze",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];
/// Operators that stretch their inputs to one shape.
const STRETCHING: &[&str] = &[
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Where",
];
/// Operators that are taken as long as what they work on is not constant.
const RUNNING: &[&str] = &[
    "AveragePool",
    "Conv",
    "GatherElements",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MatMul",
    "MaxPool",
    "Pad",
    "ScatterND",
    "TopK",
];
/// Operators with a rule of their own below.
const SPECIAL: &[&str] = &[
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Expand",
    "Gather",
    "Shape",
];

/// Checks the graph and takes from it what is not needed: shapes that it claims for itself.
pub(super) fn check(
    model: &mut ModelProto,
    ports: &[Port],
    outputs: &[&str],
    limits: &Limits,
) -> Result<(), ModelError> {
    if !model.functions.is_empty() || !model.training_info.is_empty() {
        return refuse("functions and training steps are not taken");
    }
    let Some(graph) = &mut model.graph else {
        return Err(ModelError::Unreadable("no graph in it".into()));
    };
    within("nodes", graph.node.len() as u64, limits.nodes)?;
    within(
        "constants",
        graph.initializer.len() as u64,
        2 * limits.nodes,
    )?;
    if !graph.sparse_initializer.is_empty() {
        return refuse("sparse tensors are not taken");
    }
    let mut known = HashMap::new();
    for tensor in &graph.initializer {
        let size = constant(tensor, limits)?;
        define(&mut known, &tensor.name, size)?;
    }
    check_inputs(graph, ports, &mut known)?;
    for node in &graph.node {
        check_node(node, &mut known, limits)?;
    }
    check_outputs(graph, outputs, &known)?;
    graph.value_info.clear();
    graph.quantization_annotation.clear();
    for port in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(type_proto::Value::TensorType(tensor)) =
            port.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        {
            tensor.shape = None;
        }
    }
    Ok(())
}

/// What is known about a tensor without running anything.
#[derive(Clone)]
pub(super) enum Known {
    /// Depends on an input.
    Variable,
    /// Depends on constants only.
    Constant {
        /// At most so many numbers.
        numbers: u64,
        /// The extents, where they are certain.
        shape: Option<Vec<u64>>,
        /// The values, if they are few and integers.
        values: Option<Vec<i64>>,
    },
}

impl Known {
    fn values(&self) -> Option<&Vec<i64>> {
        match self {
            Self::Variable => None,
            Self::Constant { values, .. } => values.as_ref(),
        }
    }
}

type Names = HashMap<String, Known>;

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, ModelError> {
    Err(ModelError::Refused(why.into()))
}

fn define(known: &mut Names, name: &str, what: Known) -> Result<(), ModelError> {
    match known.insert(name.to_owned(), what) {
        Some(_) => refuse(format!("`{name}` is defined twice")),
        None => Ok(()),
    }
}

fn check_inputs(graph: &GraphProto, ports: &[Port], known: &mut Names) -> Result<(), ModelError> {
    let mut found = 0;
    for input in &graph.input {
        if known.contains_key(&input.name) {
            // An initializer may be listed as an input with a default.
            continue;
        }
        if !ports.iter().any(|port| port.name == input.name) {
            return Err(ModelError::Ports(format!(
                "the file has an input `{}` that is not declared",
                input.name
            )));
        }
        let float = matches!(
            input.r#type.as_ref().and_then(|kind| kind.value.as_ref()),
            Some(type_proto::Value::TensorType(tensor)) if tensor.elem_type == FLOAT
        );
        if !float {
            return Err(ModelError::Ports(format!(
                "the input `{}` is not of 32 bit floats",
                input.name
            )));
        }
        define(known, &input.name, Known::Variable)?;
        found += 1;
    }
    if found != ports.len() {
        return Err(ModelError::Ports(format!(
            "the file has {found} inputs, {} are declared",
            ports.len()
        )));
    }
    Ok(())
}

fn check_outputs(
    graph: &mut GraphProto,
    outputs: &[&str],
    known: &Names,
) -> Result<(), ModelError> {
    let mut wanted = Vec::with_capacity(outputs.len());
    for name in outputs {
        let output = graph.output.iter().find(|output| output.name == *name);
        match (output, known.get(*name)) {
            (Some(output), Some(Known::Variable)) => wanted.push(output.clone()),
            (Some(_), Some(Known::Constant { .. })) => {
                return Err(ModelError::Ports(format!(
                    "the output `{name}` does not depend on an input"
                )));
            }
            _ => return Err(ModelError::Ports(format!("no output `{name}`"))),
        }
    }
    graph.output = wanted;
    Ok(())
}

fn check_node(node: &NodeProto, known: &mut Names, limits: &Limits) -> Result<(), ModelError> {
    let op = node.op_type.as_str();
    let listed = [SHRINKING, STRETCHING, RUNNING, SPECIAL]
        .iter()
        .any(|list| list.contains(&op));
    if !listed || !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return refuse(format!(
            "the operator `{}{op}` is not on the list",
            node.domain
        ));
    }
    attributes::check(node, limits)?;
    let mut inputs = Vec::with_capacity(node.input.len());
    for name in node.input.iter().filter(|name| !name.is_empty()) {
        let input = known.get(name).cloned();
        inputs.push(input.ok_or_else(|| {
            ModelError::Refused(format!(
                "`{op}` uses `{name}`, which nothing before it makes"
            ))
        })?);
    }
    check_written(op, &inputs)?;
    let what = outcome(node, &inputs, limits)?;
    if let Known::Constant { numbers, .. } = &what {
        // The library reads single numbers from tensors without looking whether there is one.
        if *numbers == 0 {
            return refuse(format!("`{op}` makes an empty tensor"));
        }
        within(
            &format!("numbers that `{op}` makes of constants"),
            *numbers,
            limits.tensor,
        )?;
    }
    for name in node.output.iter().filter(|name| !name.is_empty()) {
        define(known, name, what.clone())?;
    }
    if node.output.is_empty() {
        refuse(format!("`{op}` makes nothing"))
    } else {
        Ok(())
    }
}

/// What is written down beside the data: shapes and pads are small whatever they are applied to, axes
/// exist, and limits are there.
fn check_written(op: &str, inputs: &[Known]) -> Result<(), ModelError> {
    if takes_axes(op)
        && let Some(values) = inputs.get(1).and_then(Known::values)
    {
        attributes::axes(op, values)?;
    }
    let extents = [
        "ConstantOfShape",
        "Expand",
        "Pad",
        "Reshape",
        "Split",
        "TopK",
    ];
    let large = |value: &i64| value.unsigned_abs() > MOST.unsigned_abs();
    if extents.contains(&op) && inputs.iter().filter_map(Known::values).flatten().any(large) {
        return refuse(format!("`{op}` is given an extent larger than {MOST}"));
    }
    // From these, the library reads single numbers without looking whether there is one; a constant
    // whose shape is not certain may be empty.
    let uncertain = |input: &Known| matches!(input, Known::Constant { shape: None, .. });
    let reads = matches!(op, "Clip" | "Pad" | "TopK");
    if reads && inputs.iter().skip(1).any(uncertain) {
        return refuse(format!("`{op}` with a limit that is computed"));
    }
    if op == "Pad" && inputs.get(1).is_some_and(|pads| pads.values().is_none()) {
        return refuse("`Pad` with pads that are computed");
    }
    Ok(())
}

/// Operators whose second input names axes.
fn takes_axes(op: &str) -> bool {
    op.starts_with("Reduce") || matches!(op, "Squeeze" | "Unsqueeze")
}

/// What a node makes.
fn outcome(node: &NodeProto, inputs: &[Known], limits: &Limits) -> Result<Known, ModelError> {
    let op = node.op_type.as_str();
    if op == "Shape" {
        return Ok(Known::Constant {
            numbers: DEEPEST as u64,
            shape: None,
            values: None,
        });
    }
    if op == "Constant" {
        return written(node, limits);
    }
    let mut constants = Vec::with_capacity(inputs.len());
    for input in inputs {
        match input {
            Known::Variable => return Ok(Known::Variable),
            Known::Constant {
                numbers,
                shape,
                values,
            } => constants.push((*numbers, shape.as_ref(), values.as_ref())),
        }
    }
    let Some(&(numbers, shape, values)) = constants.first() else {
        return refuse(format!("`{op}` without an input"));
    };
    let sizes = constants.iter().map(|(numbers, ..)| *numbers);
    if SHRINKING.contains(&op) {
        let same = matches!(op, "Cast" | "Identity");
        let keeps_values = same || matches!(op, "Reshape" | "Squeeze" | "Unsqueeze");
        return Ok(Known::Constant {
            numbers,
            shape: shape.filter(|_| same).cloned(),
            values: values.filter(|_| keeps_values).cloned(),
        });
    }
    if STRETCHING.contains(&op) {
        let shapes: Option<Vec<&Vec<u64>>> = constants.iter().map(|(_, shape, _)| *shape).collect();
        let shape = shapes.and_then(|shapes| stretched(&shapes));
        let numbers = match &shape {
            Some(shape) => shape.iter().copied().fold(1, u64::saturating_mul),
            None => sizes.fold(1, u64::saturating_mul),
        };
        let values: Option<Vec<&Vec<i64>>> =
            constants.iter().map(|(_, _, values)| *values).collect();
        return Ok(Known::Constant {
            numbers,
            shape,
            values: values.and_then(|values| computed(op, &values)),
        });
    }
    match op {
        "Concat" => {
            let all: Option<Vec<&Vec<i64>>> =
                constants.iter().map(|(_, _, values)| *values).collect();
            let values: Option<Vec<i64>> =
                all.map(|all| all.into_iter().flatten().copied().collect());
            let values = values.filter(|values| values.len() <= LONGEST_SHAPE);
            Ok(Known::Constant {
                numbers: sizes.fold(0, u64::saturating_add),
                shape: None,
                values,
            })
        }
        // No more than each number of one with each of the other.
        "Gather" | "MatMul" => Ok(Known::Constant {
            numbers: sizes.fold(1, u64::saturating_mul),
            shape: None,
            values: None,
        }),
        "ConstantOfShape" => filled(node, values),
        "Expand" => {
            let (_, _, extents) = constants.get(1).copied().unwrap_or_default();
            let Some(extents) = extents else {
                return refuse("`Expand` of a constant to a shape that is computed");
            };
            let times = extents
                .iter()
                .map(|extent| extent.unsigned_abs())
                .fold(numbers, u64::saturating_mul);
            Ok(Known::Constant {
                numbers: times,
                shape: None,
                values: None,
            })
        }
        _ => refuse(format!("`{op}` of nothing but constants")),
    }
}

/// The value of a `Constant`.
fn written(node: &NodeProto, limits: &Limits) -> Result<Known, ModelError> {
    let [attribute] = node.attribute.as_slice() else {
        return refuse("a `Constant` with another number of values than one");
    };
    let few = |numbers: usize, values: Option<Vec<i64>>, scalar: bool| Known::Constant {
        numbers: numbers as u64,
        shape: Some(if scalar {
            Vec::new()
        } else {
            vec![numbers as u64]
        }),
        values: values.filter(|values| values.len() <= LONGEST_SHAPE),
    };
    match (attribute.name.as_str(), &attribute.t) {
        ("value", Some(tensor)) => constant(tensor, limits),
        ("value_float", _) => Ok(few(1, None, true)),
        ("value_int", _) => Ok(few(1, Some(vec![attribute.i]), true)),
        ("value_floats", _) => Ok(few(attribute.floats.len(), None, false)),
        ("value_ints", _) => Ok(few(
            attribute.ints.len(),
            Some(attribute.ints.clone()),
            false,
        )),
        (other, _) => refuse(format!("a `Constant` with `{other}`")),
    }
}

/// The answer of `ConstantOfShape`.
fn filled(node: &NodeProto, extents: Option<&Vec<i64>>) -> Result<Known, ModelError> {
    let Some(extents) = extents else {
        return refuse("`ConstantOfShape` with a shape that is computed");
    };
    let shape: Vec<u64> = extents.iter().map(|extent| extent.unsigned_abs()).collect();
    let numbers = shape.iter().copied().fold(1, u64::saturating_mul);
    let value = node
        .attribute
        .iter()
        .find(|attribute| attribute.name == "value")
        .and_then(|attribute| attribute.t.as_ref());
    let value = value
        .and_then(integers)
        .and_then(|values| values.first().copied());
    let values = value
        .filter(|_| numbers <= LONGEST_SHAPE as u64)
        .map(|value| vec![value; numbers as usize]);
    Ok(Known::Constant {
        numbers,
        shape: Some(shape),
        values,
    })
}

/// The shape that all shapes can be stretched to.
fn stretched(shapes: &[&Vec<u64>]) -> Option<Vec<u64>> {
    let deepest = shapes.iter().map(|shape| shape.len()).max()?;
    let from_the_end = |place: usize| {
        let extents = shapes
            .iter()
            .filter_map(|shape| shape.iter().rev().nth(place).copied());
        extents.max().unwrap_or(1)
    };
    Some((0..deepest).rev().map(from_the_end).collect())
}

/// The few operators by which exporters compute shapes.
fn computed(op: &str, inputs: &[&Vec<i64>]) -> Option<Vec<i64>> {
    let length = inputs.iter().map(|values| values.len()).max()?;
    let value = |input: usize, place: usize| {
        let values = inputs.get(input)?;
        if values.len() == 1 {
            values.first().copied()
        } else {
            values.get(place).copied()
        }
    };
    let compute = |place: usize| {
        let (a, b) = (value(0, place)?, value(1, place)?);
        match op {
            "Mul" => a.checked_mul(b),
            "Add" => a.checked_add(b),
            "Sub" => a.checked_sub(b),
            "Equal" => Some(i64::from(a == b)),
            "Where" => Some(if a != 0 { b } else { value(2, place)? }),
            _ => None,
        }
    };
    (0..length).map(compute).collect()
}

/// A tensor in the file: no larger than allowed, and exactly as long as its shape says.
pub(super) fn constant(tensor: &TensorProto, limits: &Limits) -> Result<Known, ModelError> {
    let name = &tensor.name;
    if tensor.data_location.unwrap_or_default() != 0 || !tensor.external_data.is_empty() {
        return refuse(format!("the tensor `{name}` is in another file"));
    }
    if tensor.segment.is_some() || tensor.dims.len() > DEEPEST {
        return refuse(format!(
            "the tensor `{name}` is in segments or deeper than {DEEPEST}"
        ));
    }
    let shape: Option<Vec<u64>> = tensor
        .dims
        .iter()
        .map(|&extent| u64::try_from(extent).ok())
        .collect();
    let Some(shape) = shape else {
        return refuse(format!("the tensor `{name}` has a negative extent"));
    };
    let numbers = shape.iter().copied().fold(1, u64::saturating_mul);
    if numbers == 0 {
        return refuse(format!("the tensor `{name}` is empty"));
    }
    within(
        &format!("numbers in the tensor `{name}`"),
        numbers,
        limits.tensor,
    )?;
    let (bytes, listed) = match tensor.data_type {
        FLOAT => (4, tensor.float_data.len()),
        INT32 => (4, tensor.int32_data.len()),
        INT64 => (8, tensor.int64_data.len()),
        FLOAT16 => (2, tensor.int32_data.len()),
        BOOL => (1, tensor.int32_data.len()),
        other => return refuse(format!("the tensor `{name}` is of the kind {other}")),
    };
    let raw = tensor.raw_data.len() as u64;
    if if raw > 0 {
        raw != numbers * bytes
    } else {
        listed as u64 != numbers
    } {
        return refuse(format!(
            "the tensor `{name}` has other data than its shape says"
        ));
    }
    Ok(Known::Constant {
        numbers,
        shape: Some(shape),
        values: integers(tensor),
    })
}

/// The values of a short tensor of 64 bit integers, or of booleans.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let values: Vec<i64> = match (tensor.data_type, tensor.raw_data.as_slice()) {
        (INT64, []) => tensor.int64_data.clone(),
        (INT64, raw) => raw
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| i64::from_le_bytes(*bytes))
            .collect(),
        _ => return None,
    };
    (values.len() <= LONGEST_SHAPE).then_some(values)
}
