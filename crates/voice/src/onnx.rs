//! Running networks in the ONNX format, including ones that somebody else wrote.
//!
//! A file is refused before it is run if it is larger, asks for more memory or would take longer than
//! [`Limits`] allow; if it uses an operator that can loop, reads other files or makes random numbers;
//! or if anything in it is not as the standard says. What is built in goes the same way.

mod attributes;
mod check;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::SymbolValues;
use tract_onnx::tract_core::ops::Cost;
use tract_onnx::tract_core::ops::cnn::{MaxPool, SumPool};

/// How much of this machine a network may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Nodes of the graph.
    pub nodes: u64,
    /// Numbers in one tensor.
    pub tensor: u64,
    /// Numbers in all tensors that are needed at one time; four bytes each.
    pub alive: u64,
    /// Steps of a run: multiplications, and numbers made. A core does some 5 to 20 thousand million in a second.
    pub steps: u64,
}

impl Default for Limits {
    /// 64 MB, 4096 nodes, 16 million numbers in a tensor, 512 MB at one time, and a few seconds.
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            nodes: 4096,
            tensor: 16 << 20,
            alive: 128 << 20,
            steps: 20_000_000_000,
        }
    }
}

/// Why a network is not used, or did not answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// Over one of the [`Limits`].
    #[error("{what}: {is} is more than the limit of {limit}")]
    TooLarge {
        /// What was counted.
        what: String,
        /// How many there are.
        is: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Not a file in this format, or cut short.
    #[error("not an ONNX file, or cut short: {0}")]
    Unreadable(String),
    /// Something in the graph that is not taken.
    #[error("refused: {0}")]
    Refused(String),
    /// The inputs or outputs are not those that were declared.
    #[error("{0}")]
    Ports(String),
    /// The library that runs networks did not take it.
    #[error("cannot be run: {0}")]
    Engine(String),
    /// The answer has another number of values than was declared.
    #[error("an answer of {found} numbers where {expected} were declared")]
    Answer {
        /// What the manifest says.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The answer has infinities or what is not a number.
    #[error("the answer has numbers that are not finite")]
    NotFinite,
}

/// One extent of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Always this.
    Fixed(usize),
    /// Differs from run to run, up to this. All such extents of a network are the same in one run.
    UpTo(usize),
}

/// An input: its name and shape. All are 32 bit floats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// As in the file.
    pub name: String,
    /// From the outermost.
    pub shape: Vec<Extent>,
}

/// A network that was checked and is ready to run. Can be shared between threads.
pub struct Network {
    plan: Arc<TypedRunnableModel>,
    ports: Vec<Port>,
}

impl Network {
    /// Checks a file and makes it ready. `outputs` are the names of the answers that are wanted.
    ///
    /// # Errors
    /// Every [`ModelError`] but those about answers.
    pub fn load(
        file: &[u8],
        ports: &[Port],
        outputs: &[&str],
        limits: &Limits,
    ) -> Result<Self, ModelError> {
        within("bytes in the file", file.len() as u64, limits.file_bytes)?;
        guarded(|| Self::load_unguarded(file, ports, outputs, limits))
    }

    /// Runs it: one slice for each input, in the order given to [`Network::load`]; back comes one
    /// vector for each output, outermost extent first.
    ///
    /// # Errors
    /// [`ModelError::Ports`] if an input has another size, [`ModelError::Engine`],
    /// [`ModelError::NotFinite`].
    pub fn run(&self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        if inputs.len() != self.ports.len() {
            return Err(ModelError::Ports(format!(
                "{} inputs where {} are declared",
                inputs.len(),
                self.ports.len()
            )));
        }
        let mut tensors = TVec::new();
        for (values, port) in inputs.iter().zip(&self.ports) {
            let tensor =
                Tensor::from_shape(&port.concrete(values.len())?, values).map_err(engine)?;
            tensors.push(tensor.into_tvalue());
        }
        let outputs = guarded(|| self.plan.run(tensors).map_err(engine))?;
        let mut answers = Vec::with_capacity(outputs.len());
        for output in &outputs {
            let view = output.to_plain_array_view::<f32>().map_err(engine)?;
            let answer: Vec<f32> = view.iter().copied().collect();
            if answer.iter().any(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite);
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    fn load_unguarded(
        file: &[u8],
        ports: &[Port],
        outputs: &[&str],
        limits: &Limits,
    ) -> Result<Self, ModelError> {
        let onnx = tract_onnx::onnx();
        let unreadable = |error: TractError| ModelError::Unreadable(error.to_string());
        let mut proto = onnx
            .proto_model_for_read(&mut &file[..])
            .map_err(unreadable)?;
        check::check(&mut proto, ports, outputs, limits)?;
        let mut model = onnx.model_for_proto_model(&proto).map_err(engine)?;
        drop(proto);
        let length = model.symbols.sym("length");
        let mut order = Vec::with_capacity(ports.len());
        for port in ports {
            let place = (0..model.inputs.len()).find(|&place| {
                model
                    .inputs
                    .get(place)
                    .is_some_and(|outlet| model.node(outlet.node).name == port.name)
            });
            let place =
                place.ok_or_else(|| ModelError::Ports(format!("no input `{}`", port.name)))?;
            let shape = port.shape.iter().map(|extent| match extent {
                Extent::Fixed(extent) => (*extent as i64).to_dim(),
                Extent::UpTo(_) => length.clone().into(),
            });
            let fact = InferenceFact::dt_shape(f32::datum_type(), shape.collect::<TVec<TDim>>());
            model.set_input_fact(place, fact).map_err(engine)?;
            order.extend(model.inputs.get(place).copied());
        }
        model.inputs = order;
        let model = model.into_typed().map_err(engine)?;
        let longest = ports
            .iter()
            .flat_map(|port| &port.shape)
            .filter_map(|extent| match extent {
                Extent::UpTo(most) => Some(*most as i64),
                Extent::Fixed(_) => None,
            });
        weigh(
            &model,
            &SymbolValues::default().with(&length, longest.min().unwrap_or(1)),
            limits,
        )?;
        let plan = model
            .into_optimized()
            .and_then(|model| model.into_runnable())
            .map_err(engine)?;
        Ok(Self {
            plan,
            ports: ports.to_vec(),
        })
    }
}

impl Port {
    /// The shape for this many numbers, or why there is none.
    fn concrete(&self, numbers: usize) -> Result<Vec<usize>, ModelError> {
        let fixed: usize = self
            .shape
            .iter()
            .map(|extent| if let Extent::Fixed(n) = extent { *n } else { 1 })
            .product();
        let open = self
            .shape
            .iter()
            .filter(|extent| matches!(extent, Extent::UpTo(_)))
            .count();
        let length = if open == 0 { 1 } else { numbers / fixed.max(1) };
        let shape = self.shape.iter().map(|extent| match extent {
            Extent::Fixed(extent) => Some(*extent),
            Extent::UpTo(most) => (1..=*most).contains(&length).then_some(length),
        });
        let shape: Option<Vec<usize>> = shape.collect();
        shape
            .filter(|shape| shape.iter().product::<usize>() == numbers)
            .ok_or_else(|| {
                ModelError::Ports(format!(
                    "{numbers} numbers do not fill the input `{}` of {:?}",
                    self.name, self.shape
                ))
            })
    }
}

/// Memory and work of a run, from the shapes alone.
fn weigh(model: &TypedModel, length: &SymbolValues, limits: &Limits) -> Result<(), ModelError> {
    let count = |dim: &TDim| {
        dim.eval_to_i64(length)
            .ok()
            .and_then(|value| u64::try_from(value).ok())
    };
    let unknown = |name: &str| {
        ModelError::Refused(format!(
            "the size of what `{name}` makes cannot be told beforehand"
        ))
    };
    let order = model.eval_order().map_err(engine)?;
    let mut last_use = HashMap::new();
    for (place, id) in order.iter().enumerate() {
        last_use.extend(model.node(*id).inputs.iter().map(|input| (*input, place)));
    }
    let (mut work, mut alive) = (0u64, 0u64);
    let mut volumes = HashMap::new();
    for (place, id) in order.iter().enumerate() {
        let node = model.node(*id);
        for (slot, output) in node.outputs.iter().enumerate() {
            let volume = output
                .fact
                .shape
                .iter()
                .try_fold(1u64, |volume, dim| volume.checked_mul(count(dim)?));
            let volume = volume.ok_or_else(|| unknown(&node.name))?;
            if volume == 0 {
                return Err(ModelError::Refused(format!(
                    "`{}` makes an empty tensor",
                    node.name
                )));
            }
            within(
                &format!("numbers made by `{}`", node.name),
                volume,
                limits.tensor,
            )?;
            alive = alive.saturating_add(volume);
            work = work.saturating_add(volume.saturating_mul(window(node)));
            volumes.insert(OutletId::new(*id, slot), volume);
        }
        within("numbers in memory at one time", alive, limits.alive)?;
        for input in &node.inputs {
            if last_use.get(input) == Some(&place) {
                alive = alive.saturating_sub(volumes.remove(input).unwrap_or_default());
            }
        }
        let (inputs, _) = model.node_facts(*id).map_err(engine)?;
        for (cost, times) in node.op.cost(&inputs).map_err(engine)? {
            if matches!(cost, Cost::FMA(_) | Cost::Div(_)) {
                work = work.saturating_add(count(&times).ok_or_else(|| unknown(&node.name))?);
            }
        }
    }
    within("steps of a run", work, limits.steps)
}

/// How many numbers are looked at for each that is made, where the library does not say.
fn window(node: &TypedNode) -> u64 {
    let pool = match (node.op_as::<MaxPool>(), node.op_as::<SumPool>()) {
        (Some(pool), _) => &pool.pool_spec,
        (_, Some(pool)) => &pool.pool_spec,
        _ => return 1,
    };
    pool.kernel_shape
        .iter()
        .fold(1, |product, extent| product.saturating_mul(*extent as u64))
}

fn within(what: &str, is: u64, limit: u64) -> Result<(), ModelError> {
    if is > limit {
        Err(ModelError::TooLarge {
            what: what.into(),
            is,
            limit,
        })
    } else {
        Ok(())
    }
}

fn engine(error: TractError) -> ModelError {
    // The whole chain: the outermost message alone says little.
    ModelError::Engine(format!("{error:#}"))
}

/// The library has assertions of its own; on a file made to hit one, this is an error like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, ModelError>) -> Result<T, ModelError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ModelError::Engine(
            "the library stopped at an assertion of its own".into(),
        ))
    })
}
