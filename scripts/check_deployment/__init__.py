"""make deployment-check: start what compose.yaml and deploy/kubernetes describe, and try it from outside.

Requires podman, its network tools and runc from Debian, and what `make image` needs. podman-compose starts
compose.yaml, and `podman kube play` the pods of Kubernetes; kubernetes.py says what that leaves out. PostgreSQL's image
is made of Debian's package where Docker Hub cannot be reached.
"""
