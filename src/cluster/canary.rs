//! The canary: a dry-run create that is right in everything but one field of its requester. Whoever admits it does not verify requesters.

use kube::{Client, client::Body};

use super::{client::CALL_TIMEOUT, identity::OwnToken};
use crate::{api::Requester, core::guard::Answer, install::guard::VERIFY};

/// Asks one API server, with the field number `turn` (modulo seven) of the requester wrong.
pub async fn ask(client: &Client, own: &OwnToken, turn: usize) -> Answer {
    match tokio::time::timeout(CALL_TIMEOUT, send(client, own, turn)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(problem)) => Answer::Unclear(problem),
        Err(_) => Answer::Unclear(format!("no answer within {} s", CALL_TIMEOUT.as_secs())),
    }
}

async fn send(client: &Client, own: &OwnToken, turn: usize) -> Result<Answer, String> {
    let namespace = &own.namespace;
    let body = serde_json::json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"generateName": "canary-", "namespace": namespace},
        "spec": {"className": "canary", "requester": wrong(&own.requester, turn)},
    });
    let request = http::Request::post(format!("/apis/daypass.dev/v1alpha1/namespaces/{namespace}/accessrequests?dryRun=All"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Body::from(serde_json::to_vec(&body).map_err(|e| e.to_string())?))
        .map_err(|e| e.to_string())?;
    let response = client.send(request).await.map_err(|e| super::ApiError::from(e).to_string())?;
    let (status, date) = (response.status().as_u16(), date_of(&response));
    let body = response.into_body().collect_bytes().await.map_err(|e| super::ApiError::from(e).to_string())?;
    let text = String::from_utf8_lossy(&body);
    match (status, date) {
        (201, _) => Ok(Answer::Admitted),
        (403, Some(date)) if text.contains(VERIFY) && text.contains("ValidatingAdmissionPolicy") => Ok(Answer::Refused(date)),
        _ => Err(format!("HTTP {status} {}", text.chars().take(200).collect::<String>())),
    }
}

fn date_of<B>(response: &http::Response<B>) -> Option<jiff::Timestamp> {
    let date = response.headers().get(http::header::DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
}

/// The requester with exactly one field wrong.
fn wrong(own: &Requester, turn: usize) -> Requester {
    let mut forged = own.clone();
    let field = match turn % 7 {
        0 => &mut forged.username,
        1 => &mut forged.uid,
        2 => &mut forged.pod_name,
        3 => &mut forged.pod_uid,
        4 => &mut forged.node_name,
        5 => &mut forged.node_uid,
        _ => &mut forged.credential_id,
    };
    field.push_str("-forged");
    forged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_forged_in_turn_and_only_one_at_a_time() {
        let own = Requester {
            username: "a".into(),
            uid: "b".into(),
            pod_name: "c".into(),
            pod_uid: "d".into(),
            node_name: "e".into(),
            node_uid: "f".into(),
            credential_id: "g".into(),
        };
        let fields = |r: &Requester| {
            let value = serde_json::to_value(r).unwrap();
            value.as_object().unwrap().clone()
        };
        let forged: std::collections::BTreeSet<String> = (0..7)
            .map(|turn| {
                let wrong = fields(&wrong(&own, turn));
                let mut different = fields(&own).into_iter().filter(|(k, v)| wrong[k] != *v).map(|(k, _)| k);
                let field = different.next().unwrap();
                assert_eq!(different.next(), None);
                field
            })
            .collect();
        assert_eq!(forged.len(), 7);
    }
}
