//! From manifests with placeholders to Helm templates.
//!
//! The objects are rendered once with a placeholder wherever the chart has a value; here each placeholder becomes a Helm expression. So the
//! chart cannot say anything that the Rust source does not say, but for these places.

use super::Error;

/// One value of the chart.
pub(super) struct Placeholder {
    /// The text in the rendered objects. A plain scalar in YAML, found nowhere else.
    pub(super) mark: &'static str,
    /// Helm expression, without braces. `$` is the root everywhere.
    pub(super) expression: &'static str,
    /// What the value is.
    pub(super) shape: Shape,
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// Text: quoted where it is all of a scalar, as it is inside a longer one.
    Text,
    /// Text that is all of a scalar, and the field is left out where it is empty.
    OptionalText,
    /// An object or a list, as the value of a field.
    Tree,
    /// The same, and the field is left out where it is empty.
    OptionalTree,
    /// Items that join a list.
    Items,
}

/// The template for YAML that was rendered with the marks of `placeholders`.
pub(super) fn template(name: &'static str, yaml: &str, placeholders: &[Placeholder]) -> Result<String, Error> {
    if yaml.contains("{{") {
        return Err(Error::HelmExpression(name));
    }
    let lines = yaml.lines().map(|line| placeholders.iter().fold(line.to_owned(), |line, placeholder| placeholder.replace(&line)));
    Ok(lines.map(|line| line + "\n").collect())
}

impl Placeholder {
    fn replace(&self, line: &str) -> String {
        let (mark, expression) = (self.mark, self.expression);
        if !line.contains(mark) {
            return line.to_owned();
        }
        let before = line.strip_suffix(mark).unwrap_or_default();
        let whole = before.ends_with(": ") || before.ends_with("- ");
        let margin = " ".repeat(line.len() - line.trim_start().len());
        let deeper = margin.len() + 2;
        let field = before.trim_end();
        match self.shape {
            Shape::Text if whole => format!("{before}{{{{ {expression} | quote }}}}"),
            Shape::Text => line.replace(mark, &format!("{{{{ {expression} }}}}")),
            Shape::OptionalText => format!("{margin}{{{{- with {expression} }}}}\n{before}{{{{ . | quote }}}}\n{margin}{{{{- end }}}}"),
            Shape::Tree => format!("{field}\n{margin}  {{{{- toYaml {expression} | nindent {deeper} }}}}"),
            Shape::OptionalTree => {
                format!(
                    "{margin}{{{{- with {expression} }}}}\n{field}\n{margin}  {{{{- toYaml . | nindent {deeper} }}}}\n{margin}{{{{- end }}}}"
                )
            }
            Shape::Items => {
                let indent = margin.len();
                format!("{margin}{{{{- with {expression} }}}}\n{margin}{{{{- toYaml . | nindent {indent} }}}}\n{margin}{{{{- end }}}}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(yaml: &str, shape: Shape) -> String {
        template("test", yaml, &[Placeholder { mark: "__x__", expression: "$.Values.x", shape }]).unwrap()
    }

    #[test]
    fn text_is_quoted_where_it_stands_alone_so_that_a_number_stays_text() {
        assert_eq!(filled("a: __x__\n", Shape::Text), "a: {{ $.Values.x | quote }}\n");
        assert_eq!(filled("- __x__\n", Shape::Text), "- {{ $.Values.x | quote }}\n");
        assert_eq!(filled("  u == 'system:__x__:y'\n", Shape::Text), "  u == 'system:{{ $.Values.x }}:y'\n");
    }

    #[test]
    fn trees_keep_their_depth() {
        assert_eq!(filled("  a: __x__\n", Shape::Tree), "  a:\n    {{- toYaml $.Values.x | nindent 4 }}\n");
        let optional = "  {{- with $.Values.x }}\n  a:\n    {{- toYaml . | nindent 4 }}\n  {{- end }}\n";
        assert_eq!(filled("  a: __x__\n", Shape::OptionalTree), optional);
        assert_eq!(filled("  a: __x__\n", Shape::OptionalText), "  {{- with $.Values.x }}\n  a: {{ . | quote }}\n  {{- end }}\n");
        assert_eq!(filled("  - __x__\n", Shape::Items), "  {{- with $.Values.x }}\n  {{- toYaml . | nindent 2 }}\n  {{- end }}\n");
    }

    #[test]
    fn text_that_helm_would_evaluate_is_refused() {
        assert!(matches!(template("crds", "description: use {{ x }}\n", &[]), Err(Error::HelmExpression("crds"))));
    }
}
