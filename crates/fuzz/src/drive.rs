//! Runs targets, and keeps what fails.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use crate::{TIME, Target, mutate::{Chance, changed}};

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// So many inputs: the same ones each time.
    Inputs(u32),
    /// For so long.
    Time(Duration),
}

/// An input that does not do.
#[derive(Clone, Debug)]
pub struct Find {
    /// The input.
    pub input: Vec<u8>,
    /// What does not hold.
    pub why: String,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Inputs that were tried.
    pub inputs: u64,
    /// How long that took.
    pub took: Duration,
    /// The slowest input.
    pub slowest: Duration,
    /// What was found. A run ends with the first.
    pub find: Option<Find>,
}

/// Tries one input.
///
/// # Errors
/// It panics, takes too long, or what has to hold does not.
pub fn one(target: &mut Target, input: &[u8]) -> Result<Duration, String> {
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let took = began.elapsed();
    match result {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("it panics: {}", text.unwrap_or("without a word")))
        }
        Ok(Err(why)) => Err(why),
        Ok(Ok(())) if took > TIME => Err(format!("it takes {} ms", took.as_millis())),
        Ok(Ok(())) => Ok(took),
    }
}

/// Tries the samples as they are, and then changed ones.
pub fn run(target: &mut Target, seed: u64, limit: Limit) -> Ran {
    let began = Instant::now();
    let mut ran = Ran { inputs: 0, took: Duration::ZERO, slowest: Duration::ZERO, find: None };
    let mut chance = Chance::new(seed);
    let mut whole = target.seeds.clone().into_iter();
    loop {
        let over = match limit {
            Limit::Inputs(most) => ran.inputs >= u64::from(most),
            Limit::Time(most) => began.elapsed() >= most,
        };
        if over {
            break;
        }
        let input = whole.next().unwrap_or_else(|| changed(&mut chance, &target.seeds, target.words));
        ran.inputs += 1;
        match one(target, &input) {
            Ok(took) => ran.slowest = ran.slowest.max(took),
            Err(why) => {
                ran.find = Some(smaller(target, Find { input, why }));
                break;
            }
        }
    }
    ran.took = began.elapsed();
    ran
}

/// Leaves out what the find does not need, for a few seconds at most.
fn smaller(target: &mut Target, mut find: Find) -> Find {
    let end = Instant::now() + Duration::from_secs(5);
    let mut piece = find.input.len() / 2;
    while piece > 0 && Instant::now() < end {
        let mut at = 0;
        while at < find.input.len() && Instant::now() < end {
            let mut less = find.input.clone();
            less.drain(at..(at + piece).min(less.len()));
            match one(target, &less) {
                Err(why) => find = Find { input: less, why },
                Ok(_) => at += piece,
            }
        }
        piece /= 2;
    }
    find
}

/// Keeps an input, under a name that is made of it.
///
/// # Errors
/// It cannot be written.
pub fn keep(folder: &Path, target: &str, input: &[u8]) -> io::Result<std::path::PathBuf> {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder)?;
    let name: String = hex::encode(Sha256::digest(input)).chars().take(16).collect();
    let file = folder.join(name);
    std::fs::write(&file, input)?;
    Ok(file)
}

/// The inputs that were kept, in the order of their names.
///
/// # Errors
/// They cannot be read.
pub fn kept(folder: &Path, target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let folder = match std::fs::read_dir(folder.join(target)) {
        Ok(folder) => folder,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(e) => return Err(e),
    };
    for entry in folder {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}
