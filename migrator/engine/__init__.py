"""How trees and steps are handled: files, exchange, journal, ledger, snapshots. Knows no generations.

Imports nothing of the package but `errors`; it could be lifted into another project unchanged.
"""
