//! Templates of names: text with variables in braces, as a class writes them.
//!
//! Owns the syntax alone; what a finished name may look like is the business of `names`, its only caller.

/// What a template may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Namespace,
    ServiceAccount,
    Class,
    Cluster,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// A variable that does not exist.
    Unknown(String),
    /// A brace without its partner.
    Unbalanced,
}

/// A template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template<'a>(Vec<Part<'a>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Variable(Variable),
}

impl Variable {
    fn of(name: &str) -> Option<Self> {
        match name {
            "namespace" => Some(Self::Namespace),
            "serviceAccount" => Some(Self::ServiceAccount),
            "class" => Some(Self::Class),
            "cluster" => Some(Self::Cluster),
            _ => None,
        }
    }
}

impl<'a> Template<'a> {
    /// Takes a text apart.
    pub(super) fn parse(mut text: &'a str) -> Result<Self, SyntaxError> {
        let mut parts = Vec::new();
        while !text.is_empty() {
            let (literal, rest) = text.split_at(text.find(['{', '}']).unwrap_or(text.len()));
            if !literal.is_empty() {
                parts.push(Part::Text(literal));
            }
            text = match rest.strip_prefix('{') {
                Some(variable) => {
                    let (name, after) = variable.split_once('}').ok_or(SyntaxError::Unbalanced)?;
                    if name.contains('{') {
                        return Err(SyntaxError::Unbalanced);
                    }
                    parts.push(Part::Variable(Variable::of(name).ok_or_else(|| SyntaxError::Unknown(name.chars().take(32).collect()))?));
                    after
                }
                None if rest.is_empty() => rest,
                None => return Err(SyntaxError::Unbalanced),
            };
        }
        Ok(Self(parts))
    }

    /// Whether the template names this variable.
    pub(super) fn uses(&self, variable: Variable) -> bool {
        self.0.contains(&Part::Variable(variable))
    }

    /// Puts the variables in.
    pub(super) fn render<'b>(&self, value: impl Fn(Variable) -> &'b str) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.to_owned(),
                Part::Variable(variable) => value(*variable),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(variable: Variable) -> &'static str {
        match variable {
            Variable::Namespace => "shop",
            Variable::ServiceAccount => "orders",
            Variable::Class => "orders-db",
            Variable::Cluster => "{namespace}",
        }
    }

    #[test]
    fn variables_are_put_in_once_and_never_again() {
        for (template, rendered) in [
            ("", ""),
            ("plain", "plain"),
            ("{serviceAccount}", "orders"),
            ("{serviceAccount}.{namespace}.svc", "orders.shop.svc"),
            ("{class}{class}", "orders-dborders-db"),
            ("{cluster}", "{namespace}"),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(value), rendered);
        }
    }

    #[test]
    fn a_misspelt_variable_or_a_lost_brace_is_refused() {
        for (template, expected) in [
            ("{namespce}", SyntaxError::Unknown("namespce".into())),
            ("{ namespace }", SyntaxError::Unknown(" namespace ".into())),
            ("{}", SyntaxError::Unknown(String::new())),
            ("{namespace", SyntaxError::Unbalanced),
            ("namespace}", SyntaxError::Unbalanced),
            ("{{namespace}}", SyntaxError::Unbalanced),
            ("{namespace}}", SyntaxError::Unbalanced),
        ] {
            assert_eq!(Template::parse(template), Err(expected), "{template}");
        }
    }
}
