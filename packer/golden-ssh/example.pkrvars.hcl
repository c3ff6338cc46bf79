# packer build -var-file=packer/golden-ssh/example.pkrvars.hcl packer/golden-ssh
vmid       = 9100
port       = 2222
output_dir = "output-golden"
script_env = ["SITE=Example Street 1"]
