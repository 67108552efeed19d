"""How a version of dagmar is released: `invoke release` of this repository; see RELEASING.md."""
