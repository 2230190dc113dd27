//! Rules for what virtual clients are like: when they are there, what links they have, what they may spend, and who attacks.

use super::{Attack, Budget, ExperimentError, Links, Raw, validated::broken};
use crate::{
    attacks::{self, Kind},
    links,
};

/// Checks all of it.
pub(super) fn check(raw: &Raw) -> Result<(), ExperimentError> {
    check_availability(raw)?;
    check_links_and_budget(raw)?;
    raw.attack.as_ref().map_or(Ok(()), |attack| check_attack(attack, raw.data.clients))
}

fn check_availability(raw: &Raw) -> Result<(), ExperimentError> {
    let availability = &raw.availability;
    if !(0.0..1.0).contains(&availability.dropout) {
        let problem = format!("{} is not a probability below 1", availability.dropout);
        return Err(broken("availability.dropout", problem, "set it from 0 to below 1"));
    }
    if !(availability.seconds > 0.0 && availability.seconds <= 1e9) {
        let problem = format!("a client cannot take {} seconds", availability.seconds);
        return Err(broken("availability.seconds", problem, "set it above 0"));
    }
    if !(0.0..=10.0).contains(&availability.spread) {
        let problem = format!("{} is not a spread", availability.spread);
        return Err(broken("availability.spread", problem, "set it from 0 (all alike) to 10"));
    }
    Ok(())
}

fn check_links_and_budget(raw: &Raw) -> Result<(), ExperimentError> {
    if raw.target_accuracy.is_some_and(|target| !(0.0..1.0).contains(&target) || target == 0.0) {
        return Err(broken("target_accuracy", "it is no share between 0 and 1", "write 80 % as 0.8"));
    }
    if let Some(budget) = &raw.budget {
        check_budget("budget", budget)?;
        for (name, class) in &budget.classes {
            let key = format!("budget.classes.{name}");
            check_budget(&key, class)?;
            if !class.classes.is_empty() {
                return Err(broken(&key, "classes have no classes", "list them all under budget.classes"));
            }
            if !raw.links.as_ref().is_some_and(|links| links.shares().contains_key(name) || name == "trace") {
                let mend = "name a kind of link that links.profiles gives to clients";
                return Err(broken(&key, format!("no client has links of the kind {name:?}"), mend));
            }
        }
    }
    raw.links.as_ref().map_or(Ok(()), check_links)
}

fn check_attack(attack: &Attack, clients: usize) -> Result<(), ExperimentError> {
    let count = attacks::count(attack.fraction, clients);
    if !(attack.fraction > 0.0 && attack.fraction < 1.0) || count == 0 || count >= clients {
        let problem = format!("{} of {clients} clients is {count} attackers", attack.fraction);
        let mend = "set it so that at least one client attacks and one does not, or leave [attack] out";
        return Err(broken("attack.fraction", problem, mend));
    }
    match attack.strength {
        Some(_) if attack.kind == Kind::LabelFlip => {
            let mend = "leave it out; scaling blows updates up";
            Err(broken("attack.strength", "label-flip sends what wrong labels teach as it is", mend))
        }
        Some(strength) if !(strength > 0.0 && strength <= 1e6) => {
            Err(broken("attack.strength", format!("{strength} is no strength"), "set it above 0, to 1e6"))
        }
        _ => Ok(()),
    }
}

fn check_budget(key: &str, budget: &Budget) -> Result<(), ExperimentError> {
    for (name, bytes) in [
        ("uplink_bytes", budget.uplink_bytes),
        ("uplink_bytes_per_round", budget.uplink_bytes_per_round),
        ("uplink_bytes_per_day", budget.uplink_bytes_per_day),
        ("downlink_bytes", budget.downlink_bytes),
        ("downlink_bytes_per_round", budget.downlink_bytes_per_round),
        ("downlink_bytes_per_day", budget.downlink_bytes_per_day),
    ] {
        if bytes == Some(0) {
            let mend = "set the most bytes a client may spend, or leave the key out";
            return Err(broken(&format!("{key}.{name}"), "a budget of 0 bytes lets nothing through", mend));
        }
    }
    if budget.uplink_seconds_per_round.is_some_and(|seconds| !(seconds > 0.0 && seconds <= 1e9)) {
        return Err(broken(&format!("{key}.uplink_seconds_per_round"), "that is no time", "set it above 0"));
    }
    Ok(())
}

fn check_links(of: &Links) -> Result<(), ExperimentError> {
    let known = || {
        let defined = of.define.keys().map(String::as_str);
        links::PROFILES.iter().map(|profile| profile.name).chain(defined).collect::<Vec<_>>().join(", ")
    };
    let given = [of.profile.is_some(), !of.profiles.is_empty(), of.trace.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        1 => {}
        0 => {
            let mend = format!("set links.profile to one of {}, or give profiles with shares, or a trace", known());
            return Err(broken("links.profiles", "no kinds of links", mend));
        }
        _ => return Err(broken("links.profile", "links come from two places", "keep one of profile, profiles, trace")),
    }
    for (name, share) in of.shares() {
        let key = match of.profile {
            Some(_) => "links.profile".into(),
            None => format!("links.profiles.{name}"),
        };
        if of.kind(&name).is_none() {
            return Err(broken(&key, format!("{name:?} is no kind of link"), format!("there are {}", known())));
        }
        if !(share > 0.0 && share.is_finite()) {
            return Err(broken(&key, format!("{share} is no share"), "set it above 0"));
        }
    }
    for (name, define) in &of.define {
        let key = format!("links.define.{name}");
        links::check(&define.into())
            .map_err(|problem| broken(&key, problem, "see docs/experiments.md for the keys"))?;
    }
    if let Some(windows) = of.online {
        let any = links::Kind { online: Some(windows.into()), ..links::PROFILES[0].kind() };
        links::check(&any)
            .map_err(|problem| broken("links.online", problem, "e.g. { period_seconds = 86400, share = 0.5 }"))?;
    }
    if let Some(path) = &of.trace {
        let problem = |problem| {
            broken("links.trace", format!("{}: {problem}", path.display()), "see docs/experiments.md for the format")
        };
        links::read(path).map_err(problem)?;
    }
    if !(0.0..=10.0).contains(&of.spread) {
        let problem = format!("{} is not a spread", of.spread);
        return Err(broken("links.spread", problem, "set it from 0 (always as fast) to 10"));
    }
    Ok(())
}
