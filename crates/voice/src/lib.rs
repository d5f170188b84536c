//! Does the voice on the telephone resemble the one that was enrolled? A signal among others, never a
//! proof.
//!
//! Pure: no files, no network, no clock. [`audio`] reads what a telephone sends, [`quality`] says
//! whether there is enough speech in it, [`frontend`] makes of it what models see, [`embed`] and
//! [`gmm`] compare voices, [`phrase`] compares words and finds recordings that were sent again, [`digits`] words that are asked for
//! anew each time.
//! [`enrol`] makes a template of three takes, [`engine`] compares an answer with it, [`score`] is what
//! comes out. [`calibrate`] finds a threshold from labelled trials, [`det`] draws how good it can be,
//! [`drift`] says whether it still holds. [`spoof`] finds one for models of synthetic speech.
//! [`plugin`] runs networks of somebody else's, [`onnx`] bounds what they may do.
//!
//! Without a [`score::Calibration`] from where it is used, no answer speaks for the caller. Voices can
//! be copied; `docs/voice.md` says what is caught here and what is not.

pub mod audio;
pub mod calibrate;
pub mod det;
pub mod digits;
pub mod drift;
pub mod embed;
pub mod engine;
pub mod enrol;
pub mod frontend;
pub mod gmm;
pub mod onnx;
pub mod phrase;
pub mod plugin;
pub mod quality;
pub mod score;
pub mod spoof;

pub use audio::{Audio, AudioError};
pub use digits::{BadDigits, Digits, DigitsCheck, DigitsTake, DigitsVerdict};
pub use engine::{Engine, EngineError, Reference};
pub use enrol::{Enrolment, Feedback, Occasion, Progress, Take, Template};
pub use plugin::{Manifest, Plugin, PluginError};
pub use quality::{Problem, Quality, Requirements};
pub use score::{Calibration, CalibrationError, Speech, Verdict, Verification};
