"""Pure billing rules: values and civil dates in; invoice lines, totals and states out."""
