"""What is different between two values, such as an asset's before and after an edit."""
