"""OKS AP, PCK, PCKh, and reports of them."""
