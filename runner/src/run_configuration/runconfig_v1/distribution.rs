//! How many processes a run configuration asks for, and what is to start them.

use super::super::reading::Section;
use super::super::{ConfigurationError, Distribution, Note};

/// Returns what starts the processes: `None` is the script by itself.
pub(super) fn launcher(run: &Section<'_>) -> Result<Option<&'static str>, ConfigurationError> {
    let communicator = run.text("communicator")?.unwrap_or_default().to_lowercase();
    let framework = run.text("framework")?.unwrap_or_default().to_lowercase();
    let by_framework = match framework.as_str() {
        "" | "python" | "pytorch" | "tensorflow" => None,
        "pyspark" => Some("pyspark"),
        "cntk" => Some("cntk"),
        _ => return Err(unknown(run, "framework", "Python, PySpark, TensorFlow, PyTorch or CNTK")),
    };
    match communicator.as_str() {
        "" | "none" => Ok(by_framework),
        "openmpi" | "intelmpi" | "mpi" => Ok(Some("mpi")),
        "nccl" | "gloo" => Ok(Some("pytorch")),
        "parameterserver" => Ok(Some("tensorflow")),
        _ => Err(unknown(
            run,
            "communicator",
            "None, ParameterServer, OpenMpi, IntelMpi, nccl or gloo",
        )),
    }
}

fn unknown(run: &Section<'_>, key: &str, expected: &str) -> ConfigurationError {
    match run.field(key) {
        Some(field) => run.wrong(field, expected),
        None => run.document.problem(&run.document.root, format!("{key}: expected {expected}")),
    }
}

/// Returns the processes that are asked for, unless it is one, which the script is by itself.
pub(super) fn read(
    run: &Section<'_>,
    launcher: Option<&str>,
    notes: &mut Vec<Note>,
) -> Result<Option<Distribution>, ConfigurationError> {
    let nodes = run.whole("nodeCount")?.unwrap_or(1);
    let (processes, alone) = match launcher {
        Some("mpi") => {
            let per_node = run.section("mpi")?.whole("processCountPerNode")?.unwrap_or(1);
            (Some(per_node.saturating_mul(nodes)), true)
        }
        Some("pytorch") => {
            let all = run.section("pytorch")?.whole("processCount")?.unwrap_or(nodes);
            (Some(all), true)
        }
        Some("tensorflow") => {
            let section = run.section("tensorflow")?;
            let workers = section.whole("workerCount")?.unwrap_or(1);
            let servers = section.whole("parameterServerCount")?.unwrap_or(1);
            (Some(workers.saturating_add(servers)), true)
        }
        Some(_) => (None, false),
        None => (None, true),
    };
    if alone && nodes <= 1 && processes.unwrap_or(1) <= 1 {
        if let (Some(launcher), Some(field)) = (launcher, run.field("communicator")) {
            notes.push(run.note(field, one_process(launcher)));
        }
        return Ok(None);
    }
    let launcher = launcher.unwrap_or("python").to_owned();
    Ok(Some(Distribution { launcher, node_count: nodes, process_count: processes }))
}

/// Says what one process that a launcher was to start goes without.
pub(in crate::run_configuration) fn one_process(launcher: &str) -> String {
    let variables = match launcher {
        "mpi" => "OMPI_COMM_WORLD_RANK",
        _ => "MASTER_ADDR, RANK",
    };
    format!(
        "has no effect here: the one process is started directly, without {variables} and the \
         like in its environment"
    )
}
