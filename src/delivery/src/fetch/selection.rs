//! Which secrets a selection takes: the vault's list, page by page.

use futures::future::join_all;

use super::gate::Gate;
use super::{Problem, through};
use keyvault_client::{Class, Client, Failure, Network, Retry, SecretItem};
use keyvault_common::names::{ObjectName, VaultUrl};
use keyvault_common::plan::{MAX_SELECTED, Select};

/// The longest list that is read to its end: 10,000 secrets.
const MAX_PAGES: usize = 400;

/// The names that each selection takes, in the order of the plan's selections. Each vault is listed once.
///
/// # Errors
/// Every selection whose vault could not be listed, and those that take too many secrets, or none and are not optional.
pub async fn select<N: Network>(client: &Client<'_, N>, selections: &[Select], retry: &Retry) -> Result<Vec<Vec<ObjectName>>, Vec<Problem>> {
    if selections.is_empty() {
        return Ok(Vec::new());
    }
    client.sign_in().await.map_err(|failure| selections.iter().map(|select| problem(select, failure.clone())).collect::<Vec<_>>())?;
    let mut vaults: Vec<&VaultUrl> = selections.iter().map(|select| &select.vault).collect();
    vaults.sort();
    vaults.dedup();
    let lists = join_all(vaults.iter().map(|vault| list(client, vault, selections, retry))).await;
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    for (index, select) in selections.iter().enumerate() {
        let list = vaults.iter().zip(&lists).find(|(vault, _)| **vault == &select.vault).map(|(_, list)| list);
        let found = list.map_or_else(|| Ok(&[][..]), |list| list.as_ref().map(|tallies| tallies[index].as_slice()));
        match found.map_err(Clone::clone).and_then(|found| judge(select, found)) {
            Ok(found) => names.push(found),
            Err(failure) => problems.push(problem(select, failure)),
        }
    }
    if problems.is_empty() { Ok(names) } else { Err(problems) }
}

/// How messages name a selection: `payments/app-*?tags=team=web`.
fn label(select: &Select) -> String {
    format!("{}/{}", select.vault.name(), select.selector)
}

fn problem(select: &Select, failure: Failure) -> Problem {
    Problem { object: label(select), failure }
}

fn judge(select: &Select, found: &[ObjectName]) -> Result<Vec<ObjectName>, Failure> {
    match found.len() {
        0 if !select.optional => Err(Failure::new(Class::NotFound, "no secret of the vault matches")),
        count if count > MAX_SELECTED => Err(Failure::new(
            Class::Format,
            format!("{count} secrets match, and a selection gives at most {MAX_SELECTED}: narrow its prefix or tags, or split it in two"),
        )),
        count => {
            tracing::info!("{}: secrets that match: {count}", label(select));
            Ok(found.to_vec())
        }
    }
}

/// For each of the plan's selections the names of this vault that it takes.
async fn list<N: Network>(client: &Client<'_, N>, vault: &VaultUrl, selections: &[Select], retry: &Retry) -> Result<Vec<Vec<ObjectName>>, Failure> {
    let gate = Gate::new(retry.deadline(), retry.jitter());
    let subject = format!("{}: list of secrets", vault.name());
    let (mut names, mut next) = (vec![Vec::new(); selections.len()], None);
    for _ in 0..MAX_PAGES {
        let ask = async || client.list(vault, next.as_deref()).await;
        let page = through(&gate, retry.clone(), &subject, ask).await.map_err(explain)?;
        for item in page.items {
            let takes = |select: &Select| select.vault == *vault && select.selector.takes(&item.name, &item.tags);
            let taken = selections.iter().zip(&mut names).filter(|(select, _)| takes(select));
            taken.filter(|(select, _)| is_given(select, &item)).for_each(|(_, names)| names.push(item.name.clone()));
        }
        next = page.next;
        if next.is_none() {
            return Ok(names);
        }
    }
    let most = MAX_PAGES * 25;
    Err(Failure::new(Class::Format, format!("the vault's list of secrets has no end after {MAX_PAGES} pages ({most} secrets): name each secret")))
}

/// Who may read secrets may not always list them.
fn explain(failure: Failure) -> Failure {
    if failure.class == Class::Rbac {
        let what = format!("{}; to select, the identity needs the permission list, too, or its role on the whole vault", failure.what);
        return Failure { what, ..failure };
    }
    failure
}

/// A selection gives what can be read, and no private keys that nobody has named.
fn is_given(select: &Select, item: &SecretItem) -> bool {
    let why = match item {
        SecretItem { enabled: false, .. } => "it is disabled",
        SecretItem { of_certificate: true, .. } => "it belongs to a certificate",
        SecretItem { .. } => return true,
    };
    tracing::warn!("{}: {} is left out, because {why}", label(select), item.name);
    false
}
