//! What happens, in order.

use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::Result;
use crate::cluster::{Admission, deployment, pod_of};
use crate::expected::{self, Expected, expect, expect_files};
use crate::kubelet;
use crate::memory::Memory;
use crate::programs::Programs;
use crate::servers::{Azure, Webhook};
use crate::show::{block, command, diff, files, heading, line};

/// What the chapters share.
struct Stage {
    programs: Programs,
    webhook: Webhook,
    memory: Memory,
    azure: Azure,
    folder: TempDir,
}

pub(crate) async fn tell(keep: bool) -> Result<()> {
    println!("keyvault-injector from end to end: real programs, real TLS, no cluster, no Azure.");
    let stage = set_up().await?;
    admitted_and_started(&stage, 4, "A Deployment with one container", "plain.yaml", expected::PLAIN).await?;
    admitted_and_started(&stage, 5, "Two containers, an init container, two views", "two-views.yaml", expected::TWO_VIEWS).await?;
    denied(&stage).await?;
    failed(&stage).await?;
    if keep {
        stay(&stage).await;
    }
    heading(8, "Everything is as it should be");
    let folder = stage.folder.path().to_owned();
    drop(stage);
    expect("the demo's folder after the demo", &folder.exists(), &false)?;
    line("Servers, volumes and files are gone. Next: README.md, docs/annotations.md, docs/configuration.md.");
    Ok(())
}

async fn set_up() -> Result<Stage> {
    heading(1, "Build");
    let started = Instant::now();
    let programs = Programs::build().await?;
    line(&format!("keyvault-injector, keyvault-agent and vault-emulator are built ({:.1} s)", started.elapsed().as_secs_f64()));

    let folder = tempfile::Builder::new().prefix("keyvault-demo-").tempdir()?;
    heading(2, "In Azure's place: vault-emulator");
    let azure = Azure::start(&programs, &folder).await?;
    command("vault-emulator --config examples/demo/emulator.yaml --listen 127.0.0.1:0 …");
    line(&format!(
        "two Key Vaults and Entra's token endpoint: https://payments-dev.{0}, https://payroll.{0}, {1}",
        azure.vault_suffix(),
        azure.address
    ));

    heading(3, "In the cluster: the webhook");
    let webhook = Webhook::start(&programs, &azure, &folder).await?;
    command("keyvault-injector webhook --config config.yaml --namespace examples/demo/namespace.yaml");
    line(&format!("serves {} with a certificate of its own; health and metrics at {}", webhook.https, webhook.health));
    let memory = Memory::new()?;
    line(&format!("pods' volumes are on {}", memory.kind));
    Ok(Stage { programs, webhook, memory, azure, folder })
}

/// Reviews the pod of a Deployment, which must be admitted.
async fn admit(stage: &Stage, file: &str) -> Result<(Value, Value)> {
    command(&format!("kubectl apply -f examples/demo/{file}"));
    let pod = pod_of(&deployment(file)?)?;
    match stage.webhook.create(&pod).await? {
        Admission::Denied { message } => Err(format!("the pod of {file} is denied: {message}").into()),
        Admission::Admitted { pod: stored, changed, warnings } => {
            expect("whether the pod is injected", &changed, &true)?;
            warnings.iter().for_each(|warning| line(&format!("Warning: {warning}")));
            Ok((pod, *stored))
        }
    }
}

async fn admitted_and_started(stage: &Stage, number: usize, title: &str, file: &str, expected: &Expected) -> Result<()> {
    heading(number, title);
    let (pod, stored) = admit(stage, file).await?;
    line("The API server asks the webhook about the new pod. With the answer's patch (its plan is laid out here, and the certificate in it cut):");
    diff(&pod, &stored)?;
    let Admission::Admitted { changed: false, .. } = stage.webhook.create(&stored).await? else {
        return Err("a second review of an injected pod is not empty".into());
    };
    line("Asked again about its own work, as the API server may, the webhook changes nothing.\n");

    let started = kubelet::start(stored, &stage.programs, stage.memory.folder.join(file)).await?;
    line("The kubelet runs the injected init container, with its environment and arguments from the pod:");
    command(&started.command);
    block(&started.log);
    expect_files(&started, expected)?;
    for (container, mount, volume) in started.consumers()? {
        files(container, mount, volume, &started.files(volume)?);
    }
    Ok(())
}

async fn denied(stage: &Stage) -> Result<()> {
    heading(6, "A Deployment with mistakes");
    command("kubectl apply -f examples/demo/bad.yaml; kubectl describe replicaset shop-5d8f7c9b6");
    let Admission::Denied { message } = stage.webhook.create(&pod_of(&deployment("bad.yaml")?)?).await? else {
        return Err("the pod of bad.yaml is not denied".into());
    };
    line("Events:");
    line("  Type     Reason        From                   Message");
    let said = format!("Error creating: admission webhook \"inject.keyvault-injector.io\" denied the request: {message}");
    for (index, text) in said.lines().enumerate() {
        line(&if index == 0 { format!("  Warning  FailedCreate  replicaset-controller  {text}") } else { format!("           {text}") });
    }
    line("No pod was created; the ReplicaSet tries again by itself once the Deployment is corrected.");
    expect("the denial", &message.lines().collect::<Vec<_>>()[..], expected::DENIAL)
}

/// What people meet at three in the morning.
async fn failed(stage: &Stage) -> Result<()> {
    heading(7, "Three in the morning: a disabled secret, a missing role, a typo");
    let (_, stored) = admit(stage, "night.yaml").await?;
    let started = kubelet::start(stored, &stage.programs, stage.memory.folder.join("night.yaml")).await?;
    command("kubectl describe pod payout-5d8f7c9b6-x2x7q");
    line("Init Containers:");
    line("  keyvault-agent:");
    line("    State:       Waiting (CrashLoopBackOff)");
    line("    Last State:  Terminated");
    line(&format!("      Exit Code:  {}", started.code.unwrap_or(-1)));
    line("      Message:");
    block(&started.termination);
    line("docs/errors has a page for each word at the beginning of a line. The app has not started, and nothing was written.");

    expect("the agent's exit code", &started.code, &Some(67))?;
    let lines: Vec<&str> = started.termination.lines().collect();
    expect("the number of lines", &lines.len(), &expected::NIGHT.len())?;
    for (text, beginning) in lines.iter().zip(expected::NIGHT) {
        expect(&format!("whether {text:?} begins with {beginning:?}"), &text.starts_with(beginning), &true)?;
    }
    for (_, _, volume) in started.consumers()? {
        expect("what the app would find", &started.files(volume)?, &Vec::new())?;
    }
    Ok(())
}

/// Until Ctrl-C.
async fn stay(stage: &Stage) {
    heading(8, "Everything is as it should be, and kept running until Ctrl-C");
    line(&format!("vaults      https://payments-dev.{0}, https://payroll.{0}", stage.azure.vault_suffix()));
    line(&format!("Entra       {}", stage.azure.address));
    line(&format!("their CA    {}", stage.azure.ca_file.display()));
    line(&format!("webhook     {} (certificate {})", stage.webhook.https, stage.folder.path().join("tls.crt").display()));
    line(&format!("health      {0}/ready, {0}/metrics", stage.webhook.health));
    line(&format!("logs        {0}/emulator.log, {0}/webhook.log", stage.folder.path().display()));
    line(&format!("pods        {}", stage.memory.folder.display()));
    command(&format!("curl {}/metrics", stage.webhook.health));
    std::future::pending::<()>().await;
}
