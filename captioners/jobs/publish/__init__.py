"""What an ablation found, in the forms that others read: a page, a paper's parts, tables, a bundle to check."""
