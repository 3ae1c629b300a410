"""PDS4 archives: labels computed from the bytes written, bundles, their checker, and reading them back.

Knows no instrument by name: labels follow from the dataset; what no dataset can say an instrument declares
(`declaration.Pds4`).
"""
