//! `circuit test RUN`: hypothesis tests of a circuit.

use std::path::PathBuf;

use clap::Args;
use ns_train::{CircuitTestSettings, circuit_tests_page, test_circuit_of_run};

use crate::{
    backend::BackendOption,
    judging::{AblationOption, SetOption},
    output::say,
    report::write_report,
};

/// Test whether a circuit does what its model does, is needed, and is no larger than necessary
///
/// The tests are those of Shi et al. 2024. The score of an example is the logit of the right answer minus the best other
/// one. Equivalence: does the circuit beat the model as often as the model beats the circuit? Independence: does the model
/// without the circuit still say something about the model's score? Sufficiency: is the circuit closer to the model than
/// random circuits of its size? Partial necessity: does the model lose more without the circuit than without random units?
/// Minimality: has each head, MLP and masked layer of the circuit a larger effect than random units outside it? If not, it
/// can go.
///
/// The command reads a run folder of `train` and takes the answers of its [behaviour] or, without one, the classes of the
/// model's head. docs/judging-a-circuit.md says when each test misleads. No file is written without --json.
///
/// Example: cargo xtask circuit test runs/demo/probe-a2-attn-0
#[derive(Args)]
pub(crate) struct Test {
    /// Folder of a finished run of a circuit, a probe or an attribution
    run: PathBuf,
    /// The examples
    #[arg(long, value_enum, default_value = "test")]
    set: SetOption,
    /// Number of random circuits, and of random sets of units for each other test
    #[arg(long, value_name = "N", default_value_t = 100)]
    random: usize,
    /// How far from 50% the share of examples on which an equivalent circuit beats the model may be
    #[arg(long, default_value_t = 0.1)]
    epsilon: f64,
    /// Share of the random sets that the circuit must beat
    #[arg(long, default_value_t = 0.9)]
    quantile: f64,
    /// Significance level of each test
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,
    /// Most examples that are used: the first of the set
    #[arg(long, value_name = "N", default_value_t = 1000)]
    examples: usize,
    /// What replaces units that are not kept; all but zero need neuron masks
    #[arg(long, value_enum, default_value = "zero")]
    ablation: AblationOption,
    /// Also write the results to this file (JSON)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let report = test_circuit_of_run(&self.run, &self.settings(), &self.backend.device()?)?;
        write_report(self.json.as_deref(), &report)?;
        say!("{}", circuit_tests_page(&report).trim_end());
        Ok(())
    }

    fn settings(&self) -> CircuitTestSettings {
        CircuitTestSettings {
            set: self.set.name(),
            most_examples: self.examples,
            ablation: self.ablation.name(),
            random: self.random,
            epsilon: self.epsilon,
            quantile: self.quantile,
            alpha: self.alpha,
        }
    }
}
